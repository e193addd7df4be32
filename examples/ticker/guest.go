// Prints "tick 1", "tick 2", ... at a fixed interval.
//
//	ticker [MILLISECONDS [TICKS]]
//
// The interval is a second unless told; without TICKS it goes on for ever.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// argument returns the number at a position of the command line, or the fallback.
func argument(position, fallback int) int {
	if position >= len(os.Args) {
		return fallback
	}
	number, err := strconv.Atoi(os.Args[position])
	if err != nil || number <= 0 {
		fmt.Fprintf(os.Stderr, "%s: want a number above 0\n", os.Args[position])
		os.Exit(2)
	}
	return number
}

func main() {
	interval := time.Duration(argument(1, 1000)) * time.Millisecond
	last := argument(2, 0)

	ticker := time.NewTicker(interval)
	for count := 1; ; count++ {
		<-ticker.C
		fmt.Printf("tick %d\n", count)
		if count == last {
			return
		}
	}
}
