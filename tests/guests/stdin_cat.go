// Copies standard input to standard output, while a ticker writes to standard error.
//
//	stdin_cat [MILLISECONDS]
//
// If waiting for input held up the module, nothing would tick.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

func main() {
	interval := 10
	if len(os.Args) > 1 {
		interval, _ = strconv.Atoi(os.Args[1])
	}
	go func() {
		count := 0
		for range time.Tick(time.Duration(interval) * time.Millisecond) {
			count++
			fmt.Fprintf(os.Stderr, "tick %d\n", count)
		}
	}()
	if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
}
