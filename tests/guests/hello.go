// Says hello on standard output and on standard error.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println("hello from go")
	fmt.Fprintln(os.Stderr, "hello on stderr")
}
