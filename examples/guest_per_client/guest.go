// Copies standard input to standard output until the input ends.
//
// Run once per client with both ends on the client's connection, this is an
// echo server that has never heard of a network.
package main

import (
	"io"
	"log"
	"os"
)

func main() {
	if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
		log.Fatal(err)
	}
}
