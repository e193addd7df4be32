// Reads several FIFOs at once, one goroutine each, to show that a read which
// has nothing yet holds up its own goroutine and not the module.
//
//	nonblock open|fd FIFO...
//
// "open" leaves opening to the os package; "fd" opens the raw descriptor, makes it
// non-blocking and wraps it. The FIFOs are opened in the order given. When all
// goroutines stand before their read, "waiting" is printed; what each one then
// reads, at most 256 bytes in one read, goes to standard error as it came.
package main

import (
	"fmt"
	"os"
	"sync"
	"syscall"
)

func openFile(path string) (*os.File, error) {
	return os.Open(path)
}

func wrapDescriptor(path string) (*os.File, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

var openers = map[string]func(string) (*os.File, error){
	"open": openFile,
	"fd":   wrapDescriptor,
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "failed:", err)
	os.Exit(1)
}

func main() {
	if len(os.Args) < 3 || openers[os.Args[1]] == nil {
		fail(fmt.Errorf("usage: nonblock open|fd FIFO..."))
	}
	open := openers[os.Args[1]]
	release := make(chan struct{})
	var readers sync.WaitGroup

	for _, path := range os.Args[2:] {
		file, err := open(path)
		if err != nil {
			fail(err)
		}
		started := make(chan struct{})
		readers.Go(func() {
			defer file.Close()
			close(started)
			<-release
			buffer := make([]byte, 256)
			n, err := file.Read(buffer)
			if err != nil {
				fail(err)
			}
			os.Stderr.Write(buffer[:n])
		})
		<-started
	}

	fmt.Fprintln(os.Stderr, "waiting")
	close(release)
	readers.Wait()
}
