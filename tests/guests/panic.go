// Panics two calls deep. Go prints the stack on standard error and ends with status 2.
package main

//go:noinline
func inner(reason string) { panic(reason) }

//go:noinline
func outer(reason string) { inner(reason) }

func main() { outer("on purpose") }
