// A TCP echo server. Its listeners are opened by the host and handed in from
// descriptor 3 on; there is nothing in here that knows which host that is.
//
// With tick=DURATION, as an argument or in the environment, a ticker runs
// beside the clients: it shows that none of them holds up the rest.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// listeners collects what the host opened: the first descriptor that does not
// exist ends the list, anything else that is no socket (a directory) is passed by.
//
// Every file is closed at once; a listener keeps a copy of its own. Left to the
// garbage collector a file would be closed much later, when its number may have
// become a client's.
func listeners() ([]net.Listener, error) {
	var found []net.Listener
	for fd := uintptr(3); ; fd++ {
		file := os.NewFile(fd, fmt.Sprintf("fd%d", fd))
		listener, err := net.FileListener(file)
		file.Close()
		switch {
		case err == nil:
			found = append(found, listener)
		case errors.Is(err, syscall.EBADF):
			return found, nil
		case !errors.Is(err, syscall.ENOTSOCK):
			return nil, fmt.Errorf("fd %d: %w", fd, err)
		}
	}
}

func echo(conn net.Conn) {
	defer conn.Close()
	// A client that breaks off is its own affair; the others go on.
	_, _ = io.Copy(conn, conn)
}

func serve(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go echo(conn)
	}
}

func tick(every time.Duration) {
	count := 0
	for range time.Tick(every) {
		count++
		fmt.Printf("tick %d\n", count)
	}
}

// setting looks for name=VALUE among the arguments, then in the environment.
func setting(name string) string {
	for _, argument := range os.Args[1:] {
		if value, ok := strings.CutPrefix(argument, name+"="); ok {
			return value
		}
	}
	return os.Getenv(name)
}

func main() {
	log.SetFlags(0)
	if text := setting("tick"); text != "" {
		every, err := time.ParseDuration(text)
		if err != nil || every <= 0 {
			log.Fatalf("tick=%s: want a duration such as 500ms", text)
		}
		go tick(every)
	}
	found, err := listeners()
	if err != nil {
		log.Fatal(err)
	}
	if len(found) == 0 {
		log.Fatal("no listener: the host has to open one")
	}
	ended := make(chan error)
	for _, listener := range found {
		go func() { ended <- serve(listener) }()
	}
	log.Fatal(<-ended)
}
