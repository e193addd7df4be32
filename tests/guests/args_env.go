// Prints what it was started with: arguments in order, environment sorted, directory.
package main

import (
	"fmt"
	"os"
	"slices"
)

func main() {
	for _, argument := range os.Args {
		fmt.Printf("arg %q\n", argument)
	}
	environment := os.Environ()
	slices.Sort(environment)
	for _, entry := range environment {
		fmt.Printf("env %q\n", entry)
	}
	// A guest without directories has no working directory either.
	if directory, err := os.Getwd(); err != nil || directory == "" {
		fmt.Println("no cwd")
	} else {
		fmt.Printf("cwd %q\n", directory)
	}
}
