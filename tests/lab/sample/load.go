package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// options are what a person says of a load as a whole.
type options struct {
	targets  []*target
	duration time.Duration
	timeout  time.Duration
	ready    time.Duration
	out      string
}

// load asks until its time is over, or until its input ends; its last line is the summary.
func load(arguments []string) error {
	chosen, err := readOptions(arguments)
	if err != nil {
		return err
	}
	run := &running{options: chosen, out: bufio.NewWriter(os.Stdout)}
	orders, interrupted := run.listen()
	if err := run.awaitTargets(interrupted); err != nil {
		return err
	}
	run.print("ready")
	stopped := run.start()
	run.obey(orders, interrupted)
	stopped()
	return run.finish()
}

func readOptions(arguments []string) (options, error) {
	var chosen options
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	var loads, headers words
	flags.Var(&loads, "load", "NAME=URL,MODE,CLIENTS,THINK_MS; may be given again")
	address := flags.String("target", "", "the URL of a single load")
	mode := flags.String("mode", modeKeepAlive, "of --target: ka (GET on kept connections), post (POST on kept ones), "+
		"close (GET, each on a connection of its own)")
	clients := flags.Int("clients", 1, "of --target: how many ask at the same time")
	think := flags.Int("think", 10, "of --target: milliseconds between an answer and the next request")
	flags.Var(&headers, "header", "'Name: value' of each request; 'LOAD/Name: value' for one load; may be given again")
	host := flags.String("host", "", "the Host of each request; by default that of the URL")
	flags.DurationVar(&chosen.duration, "duration", 0, "how long; by default until the standard input ends")
	flags.DurationVar(&chosen.timeout, "timeout", 10*time.Second, "how long a request may take")
	flags.DurationVar(&chosen.ready, "ready", 30*time.Second, "how long to wait for a first answer, which is not counted")
	flags.StringVar(&chosen.out, "out", "-", "the file of the summary, or - for the standard output")
	if err := flags.Parse(arguments); err != nil {
		return chosen, err
	}
	if *address != "" {
		loads = append(loads, fmt.Sprintf("load=%s,%s,%d,%d", *address, *mode, *clients, *think))
	}
	if len(loads) == 0 || flags.NArg() > 0 {
		return chosen, fmt.Errorf("give --load or --target, and no other words\n%s", usage)
	}
	for _, text := range loads {
		made, err := readTarget(text, headers, *host)
		if err != nil {
			return chosen, err
		}
		chosen.targets = append(chosen.targets, made)
	}
	return chosen, nil
}

type words []string

func (list *words) String() string        { return strings.Join(*list, " ") }
func (list *words) Set(word string) error { *list = append(*list, word); return nil }

// running is a load at work.
type running struct {
	options
	out   *bufio.Writer
	began time.Time
	ended time.Time
}

// awaitTargets asks each target until it answers well, so that what is counted is not the target's own start.
func (run *running) awaitTargets(interrupted <-chan os.Signal) error {
	within, cancel := context.WithTimeout(context.Background(), run.ready)
	defer cancel()
	for _, each := range run.targets {
		for {
			asking := &client{target: each, timeout: run.timeout}
			_, err := asking.ask()
			asking.hangUp()
			each.probes++
			if err == nil {
				break
			}
			select {
			case <-within.Done():
				return fmt.Errorf("load %s: %s does not answer well within %s, the last time with: %w",
					each.name, each.url, run.ready, err)
			case <-interrupted:
				return errors.New("interrupted while it waited for a first answer")
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// start lets all clients ask, and gives what ends them; a request that is under way is still waited for.
func (run *running) start() (stop func()) {
	run.began = time.Now()
	stopping := make(chan struct{})
	var clients sync.WaitGroup
	for _, each := range run.targets {
		for number := range each.clients {
			clients.Add(1)
			asking := &client{target: each, number: number, timeout: run.timeout}
			go func() {
				defer clients.Done()
				asking.run(stopping)
			}()
		}
	}
	return func() {
		close(stopping)
		clients.Wait()
		run.ended = time.Now()
	}
}

// listen reads orders from the input, which ends with it, and signals. It begins before the targets are waited for.
func (run *running) listen() (<-chan string, <-chan os.Signal) {
	orders := make(chan string)
	go func() {
		defer close(orders)
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			orders <- strings.TrimSpace(lines.Text())
		}
	}()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGTERM, syscall.SIGINT)
	return orders, interrupted
}

// obey returns when the load is to end.
func (run *running) obey(orders <-chan string, interrupted <-chan os.Signal) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	var over <-chan time.Time
	if run.duration > 0 {
		over = time.After(run.duration)
	}
	for {
		select {
		case order, more := <-orders:
			switch {
			case more && order == "snapshot":
				run.print("snapshot")
			case !more && run.duration > 0:
				orders = nil
			case !more:
				return
			}
		case <-asked:
			run.print("snapshot")
		case <-interrupted:
			return
		case <-over:
			return
		}
	}
}

func (run *running) print(event string) {
	_ = run.write(run.out, event)
	_ = run.out.Flush()
}

func (run *running) finish() error {
	if run.out.Flush(); run.options.out == "-" {
		run.print("summary")
		return nil
	}
	file, err := os.Create(run.options.out)
	if err != nil {
		return err
	}
	return errors.Join(run.write(file, "summary"), file.Close())
}

func (run *running) write(to io.Writer, event string) error {
	until := run.ended
	if until.IsZero() {
		until = time.Now()
	}
	loads := map[string]any{}
	for _, each := range run.targets {
		loads[each.name] = each.tally.report(each)
	}
	seconds := 0.0
	if !run.began.IsZero() {
		seconds = until.Sub(run.began).Seconds()
	}
	return json.NewEncoder(to).Encode(map[string]any{"event": event, "seconds": seconds, "loads": loads})
}
