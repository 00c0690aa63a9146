package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	modeKeepAlive = "ka"
	modePost      = "post"
	modeClose     = "close"
	largestAnswer = 1 << 20
	// A target that refuses is not asked as fast as the machine can.
	afterFailure = 10 * time.Millisecond
)

// target is one load: where it goes, how, and what came of it.
type target struct {
	name, mode, url string
	address         string
	clients         int
	think           time.Duration
	request         *http.Request
	content         []byte
	probes          int
	tally           tally
}

func readTarget(text string, headers []string, host string) (*target, error) {
	name, rest, found := strings.Cut(text, "=")
	parts := strings.Split(rest, ",")
	if !found || name == "" || len(parts) != 4 {
		return nil, fmt.Errorf("--load %s: use NAME=URL,MODE,CLIENTS,THINK_MS", text)
	}
	where, err := url.Parse(parts[0])
	if err != nil || where.Scheme != "http" || where.Hostname() == "" {
		return nil, fmt.Errorf("--load %s: use a URL such as http://192.0.2.1:8080/", text)
	}
	clients, wrongClients := strconv.Atoi(parts[2])
	think, wrongThink := strconv.Atoi(parts[3])
	if wrongClients != nil || wrongThink != nil || clients < 1 || clients > 1000 || think < 0 {
		return nil, fmt.Errorf("--load %s: use 1 to 1000 clients, and 0 or more milliseconds", text)
	}
	made := &target{name: name, mode: parts[1], url: parts[0], clients: clients}
	made.think = time.Duration(think) * time.Millisecond
	made.address = net.JoinHostPort(where.Hostname(), port(where))
	return made, made.compose(where, headers, host)
}

func port(where *url.URL) string {
	if named := where.Port(); named != "" {
		return named
	}
	return "80"
}

// compose writes the request once, as it is the same each time.
func (made *target) compose(where *url.URL, headers []string, host string) error {
	method, body := http.MethodGet, ""
	switch made.mode {
	case modeKeepAlive, modeClose:
	case modePost:
		method, body = http.MethodPost, `{"sku":"a-1","quantity":1}`
	default:
		return fmt.Errorf("load %s: mode %s is none of ka, post and close", made.name, made.mode)
	}
	request, err := http.NewRequest(method, where.String(), strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Close = made.mode == modeClose
	request.Header.Set("User-Agent", "sample-load")
	if host != "" {
		request.Host = host
	}
	for _, text := range headers {
		header, value, found := strings.Cut(text, ":")
		if !found {
			return fmt.Errorf("--header %s: use 'Name: value'", text)
		}
		if load, bare, only := strings.Cut(header, "/"); only {
			if load != made.name {
				continue
			}
			header = bare
		}
		request.Header.Set(strings.TrimSpace(header), strings.TrimSpace(value))
	}
	var written strings.Builder
	if err := request.Write(&written); err != nil {
		return err
	}
	made.request, made.content = request, []byte(written.String())
	return nil
}

// client is one who asks, waits for the answer, thinks, and asks again, on one connection at a time. No request is
// ever sent again: Go's own client does that in silence when a kept connection turns out to be dead.
type client struct {
	*target
	number     int
	timeout    time.Duration
	connection net.Conn
	reader     *bufio.Reader
	// Whether the connection of the last request had carried one before.
	reused bool
}

// answer is what came back.
type answer struct {
	status       int
	version, pod string
}

// failure is a request that was not answered well.
type failure struct {
	kind   string
	detail string
}

func (problem failure) Error() string {
	return problem.kind + ": " + problem.detail
}

func (asking *client) run(stopping <-chan struct{}) {
	defer asking.hangUp()
	for {
		select {
		case <-stopping:
			return
		default:
		}
		began := time.Now()
		got, err := asking.ask()
		asking.tally.count(asking, began, got, err)
		pause := asking.think
		if err != nil {
			pause = max(pause, afterFailure)
		}
		select {
		case <-stopping:
			return
		case <-time.After(pause):
		}
	}
}

// ask sends one request, once, and reads the whole answer.
func (asking *client) ask() (got answer, err error) {
	deadline := time.Now().Add(asking.timeout)
	if asking.connection != nil && asking.isClosed() {
		asking.hangUp()
		asking.tally.leftIdle()
	}
	asking.reused = asking.connection != nil
	if !asking.reused {
		if err := asking.dial(); err != nil {
			return got, err
		}
	}
	defer func() {
		if err != nil || asking.mode == modeClose {
			asking.hangUp()
		}
	}()
	if err := asking.connection.SetDeadline(deadline); err != nil {
		return got, failed("send", err)
	}
	if _, err := asking.connection.Write(asking.content); err != nil {
		return got, failed("send", err)
	}
	response, err := http.ReadResponse(asking.reader, asking.request)
	if err != nil {
		return got, failed("receive", err)
	}
	defer response.Body.Close()
	got = answer{response.StatusCode, response.Header.Get("X-Version"), response.Header.Get("X-Pod")}
	if read, err := io.Copy(io.Discard, io.LimitReader(response.Body, largestAnswer+1)); err != nil {
		return got, failed("receive the body", err)
	} else if read > largestAnswer {
		return got, failure{"protocol", "the answer is larger than 1 MiB"}
	}
	if response.Close {
		asking.hangUp()
	}
	if response.StatusCode >= 400 {
		return got, failure{fmt.Sprintf("status %d", response.StatusCode), "from version " + orUnknown(got.version)}
	}
	return got, nil
}

// isClosed looks whether the server has said goodbye since the last answer, as every client does before it sends: a
// request that was never sent cannot fail. What is closed after this look, though, fails the request.
func (asking *client) isClosed() bool {
	raw, err := asking.connection.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	var looked error
	var byteOrNone [1]byte
	err = raw.Read(func(descriptor uintptr) bool {
		_, _, looked = syscall.Recvfrom(int(descriptor), byteOrNone[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	// Nothing to read is what an open connection looks like; bytes that nobody asked for make it useless as well.
	return err != nil || !errors.Is(looked, syscall.EAGAIN)
}

func (asking *client) dial() error {
	connection, err := net.DialTimeout("tcp", asking.address, asking.timeout)
	if err != nil {
		problem := failed("dial", err)
		problem.kind = "dial " + problem.kind
		return problem
	}
	asking.connection, asking.reader = connection, bufio.NewReader(connection)
	return nil
}

func (asking *client) hangUp() {
	if asking.connection != nil {
		_ = asking.connection.Close()
		asking.connection, asking.reader = nil, nil
	}
}

func failed(doing string, err error) failure {
	kind := "error"
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		kind = "EOF"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		kind = "reset"
	case errors.Is(err, syscall.ECONNREFUSED):
		kind = "refused"
	case errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		kind = "timeout"
	}
	return failure{kind, fmt.Sprintf("%s: %v", doing, err)}
}

func isTimeout(err error) bool {
	var problem net.Error
	return errors.As(err, &problem) && problem.Timeout()
}

func orUnknown(version string) string {
	if version == "" {
		return "unknown"
	}
	return version
}
