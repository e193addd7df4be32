// Measures an echo server: every busy connection sends a message, waits until it
// is back, and sends the next. Every byte that comes back is compared.
//
//	load -addr HOST:PORT [-conns 10] [-size 64] [-seconds 3 | -requests N]
//	     [-warmup 0.5] [-idle N]
//
// It is compiled, and sends with one goroutine per connection, because a slower
// one would measure itself. -idle opens further connections that only lie there;
// after the measurement each of them must still echo.
//
// One JSON object on standard output: requests, seconds, rps, p50_us, p99_us,
// max_us, errors, conns, idle, size. The status is 1 if there was any error; the
// first of them are told on standard error. Latencies are exact, not bucketed.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// grace is how long a connection may lie beyond the planned end before its
// server counts as stuck.
const grace = 20 * time.Second

// shownErrors bounds what is told; all are counted.
const shownErrors = 5

type settings struct {
	addr     string
	conns    int
	idle     int
	size     int
	seconds  float64
	warmup   float64
	requests int
}

type report struct {
	Requests int     `json:"requests"`
	Seconds  float64 `json:"seconds"`
	RPS      float64 `json:"rps"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	Max      float64 `json:"max_us"`
	Errors   int64   `json:"errors"`
	Conns    int     `json:"conns"`
	Idle     int     `json:"idle"`
	Size     int     `json:"size"`
}

// window is when round trips count: those that begin at or after from and, if
// there is an end, are over by then.
type window struct {
	from, until time.Time
}

// client is one connection and the messages it sends. The messages differ between
// connections and from one to the next, so that an answer that belongs to another
// client or to an earlier message is seen.
type client struct {
	conn      net.Conn
	id        uint64
	sent      uint64
	out, back []byte
	latencies []time.Duration
	first     time.Time
	last      time.Time
}

var errorCount atomic.Int64

func tell(err error) {
	if errorCount.Add(1) <= shownErrors {
		fmt.Fprintln(os.Stderr, "load:", err)
	}
}

func dial(addr string, id, size int) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, id: uint64(id), out: make([]byte, size), back: make([]byte, size)}, nil
}

// fill makes the next message: a xorshift stream whose seed holds the connection
// and the message's number.
func (c *client) fill() {
	c.sent++
	x := (c.id+1)*0x9e3779b97f4a7c15 ^ c.sent*0xbf58476d1ce4e5b9
	for i := range c.out {
		if i%8 == 0 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		c.out[i] = byte(x >> (i % 8 * 8))
	}
}

// roundTrip sends one message and reads as much back. A message too large for the
// kernel's buffers on the way is sent and read at once: a server that echoes as it
// reads would otherwise wait for us while we wait for it.
func (c *client) roundTrip() error {
	c.fill()
	if len(c.out) <= 32<<10 {
		if _, err := c.conn.Write(c.out); err != nil {
			return fmt.Errorf("connection %d, message %d: %w", c.id, c.sent, err)
		}
	} else {
		go func() { _, _ = c.conn.Write(c.out) }()
	}
	if _, err := io.ReadFull(c.conn, c.back); err != nil {
		return fmt.Errorf("connection %d, message %d: %w", c.id, c.sent, err)
	}
	if !bytes.Equal(c.out, c.back) {
		at := 0
		for c.out[at] == c.back[at] {
			at++
		}
		return fmt.Errorf("connection %d, message %d: byte %d came back as %#x, not %#x",
			c.id, c.sent, at, c.back[at], c.out[at])
	}
	return nil
}

// run makes round trips until the window ends, or until it has made `limit` that
// count, where limit is above 0.
func (c *client) run(w window, limit int) {
	begin := time.Now()
	for {
		if err := c.roundTrip(); err != nil {
			tell(err)
			return
		}
		end := time.Now()
		if !w.until.IsZero() && end.After(w.until) {
			return
		}
		if !begin.Before(w.from) {
			if len(c.latencies) == 0 {
				c.first = begin
			}
			c.latencies = append(c.latencies, end.Sub(begin))
			c.last = end
			if len(c.latencies) == limit {
				return
			}
		}
		begin = end
	}
}

func dialAll(s settings) (busy, idle []*client, err error) {
	for id := range s.conns + s.idle {
		c, err := dial(s.addr, id, s.size)
		if err != nil {
			return nil, nil, fmt.Errorf("connection %d of %d: %w", id+1, s.conns+s.idle, err)
		}
		// Idle ones first, as it is they who must not cost those that come later.
		if id < s.idle {
			idle = append(idle, c)
		} else {
			busy = append(busy, c)
		}
	}
	return busy, idle, nil
}

// share divides a number of requests over the connections; the first ones take the rest.
func share(requests, conns, i int) int {
	part := requests / conns
	if i < requests%conns {
		part++
	}
	return part
}

func measure(s settings) (report, error) {
	busy, idle, err := dialAll(s)
	if err != nil {
		return report{}, err
	}
	w := window{from: time.Now().Add(time.Duration(s.warmup * float64(time.Second)))}
	end := w.from.Add(time.Duration(s.seconds * float64(time.Second)))
	if s.requests == 0 {
		w.until = end
	}
	var running sync.WaitGroup
	for i, c := range busy {
		// One deadline per connection, not per message: setting it is not free.
		if err := c.conn.SetDeadline(end.Add(grace)); err != nil {
			return report{}, err
		}
		running.Go(func() { c.run(w, share(s.requests, s.conns, i)) })
	}
	running.Wait()
	result := summarise(busy, w)
	for _, c := range idle {
		if err := c.conn.SetDeadline(time.Now().Add(grace)); err != nil {
			return report{}, err
		}
		if err := c.roundTrip(); err != nil {
			tell(fmt.Errorf("idle: %w", err))
		}
	}
	result.Conns, result.Idle, result.Size, result.Errors = s.conns, s.idle, s.size, errorCount.Load()
	return result, nil
}

// summarise joins the connections. The time is the whole window where there is one, else
// from the first request that counts to the end of the last.
func summarise(clients []*client, w window) report {
	var all []time.Duration
	var first, last time.Time
	for _, c := range clients {
		if len(c.latencies) == 0 {
			continue
		}
		all = append(all, c.latencies...)
		if first.IsZero() || c.first.Before(first) {
			first = c.first
		}
		if c.last.After(last) {
			last = c.last
		}
	}
	if len(all) == 0 {
		return report{}
	}
	if !w.until.IsZero() {
		first, last = w.from, w.until
	}
	slices.Sort(all)
	seconds := last.Sub(first).Seconds()
	quantile := func(q float64) float64 {
		return float64(all[int(q*float64(len(all)-1))].Nanoseconds()) / 1e3
	}
	return report{
		Requests: len(all),
		Seconds:  seconds,
		RPS:      float64(len(all)) / seconds,
		P50:      quantile(0.5),
		P99:      quantile(0.99),
		Max:      quantile(1),
	}
}

func parse() (settings, error) {
	var s settings
	flag.StringVar(&s.addr, "addr", "", "HOST:PORT of the server")
	flag.IntVar(&s.conns, "conns", 10, "busy connections")
	flag.IntVar(&s.idle, "idle", 0, "further connections that send nothing while it is measured")
	flag.IntVar(&s.size, "size", 64, "bytes of a message")
	flag.Float64Var(&s.seconds, "seconds", 3, "how long to measure")
	flag.IntVar(&s.requests, "requests", 0, "measure this many round trips instead, over all connections")
	flag.Float64Var(&s.warmup, "warmup", 0.5, "seconds before the measurement that do not count")
	flag.Parse()
	switch {
	case s.addr == "":
		return s, fmt.Errorf("-addr is missing")
	case flag.NArg() != 0:
		return s, fmt.Errorf("unknown argument %q", flag.Arg(0))
	case s.conns < 1 || s.size < 1 || s.idle < 0 || s.seconds <= 0 || s.warmup < 0 || s.requests < 0:
		return s, fmt.Errorf("a number is out of range")
	case s.requests > 0 && s.requests < s.conns:
		return s, fmt.Errorf("fewer requests than connections")
	}
	return s, nil
}

func main() {
	s, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(2)
	}
	result, err := measure(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil || result.Errors > 0 || result.Requests == 0 {
		os.Exit(1)
	}
}
