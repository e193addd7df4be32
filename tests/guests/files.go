// Reads and stats a file below a directory it was given, and tries to leave it.
//
//	files DIRECTORY NAME
//
// Each attempt prints one line: what was tried, and what came of it. A way out
// that works prints "ESCAPED".
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// reason names the errors that a host may answer; the text of others differs by host.
func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "not exist"
	case errors.Is(err, fs.ErrPermission):
		return "permission"
	default:
		return err.Error()
	}
}

func main() {
	directory, name := os.Args[1], os.Args[2]
	path := directory + "/" + name

	content, err := os.ReadFile(path)
	if err != nil {
		fmt.Println("read:", reason(err))
		os.Exit(1)
	}
	fmt.Printf("read: %q\n", content)

	info, err := os.Stat(path)
	if err != nil {
		fmt.Println("stat:", reason(err))
		os.Exit(1)
	}
	fmt.Printf("stat: %s, %d bytes, directory %t\n", info.Name(), info.Size(), info.IsDir())

	if _, err := os.Stat(path + ".missing"); err != nil {
		fmt.Println("missing:", reason(err))
	}

	// os cleans nothing away here: each of these reaches the host as it stands.
	outside := []string{
		directory + "/../outside",
		directory + "/sub/../../outside",
		directory + "/link/outside",
		directory + "/absolute",
		"/etc/passwd",
	}
	for _, path := range outside {
		if content, err := os.ReadFile(path); err != nil {
			fmt.Printf("outside %s: refused\n", path)
		} else {
			fmt.Printf("outside %s: ESCAPED with %q\n", path, content)
		}
	}
}
