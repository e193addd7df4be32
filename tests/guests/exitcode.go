// Ends with status 7, though a goroutine and a deferred call are left.
package main

import (
	"fmt"
	"os"
)

func main() {
	defer fmt.Println("never printed")
	go func() { select {} }()
	fmt.Println("leaving")
	os.Exit(7)
}
