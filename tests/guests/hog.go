// Allocates until there is no memory left. Go says so on standard error and ends with status 2.
package main

var kept [][]byte

func main() {
	for {
		kept = append(kept, make([]byte, 1<<20))
	}
}
