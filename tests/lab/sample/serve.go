package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// What CRASH_WHEN_LIVE takes for real traffic; probes and gates do not ask for "/" so often.
	liveRequests  = 200
	longestSlow   = time.Minute
	shutdownAfter = 10 * time.Second
	largestBody   = 1 << 20
	featureFile   = "/etc/config/feature"
)

type application struct {
	conduct
	version, pod string
	started      time.Time
	draining     atomic.Bool
	hits, orders atomic.Int64
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	port := flags.Int("port", 8080, "the port; 0 takes a free one")
	version := flags.String("version", getenv("VERSION", "v1"), "the version that each answer names")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	chosen, err := readConduct()
	if err != nil {
		return err
	}
	pod, _ := os.Hostname()
	app := &application{conduct: chosen, version: *version, pod: pod, started: time.Now()}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	listening, err := net.Listen("tcp", ":"+strconv.Itoa(*port))
	if err != nil {
		return err
	}
	fmt.Printf("version %s listens on port %d\n", app.version, listening.Addr().(*net.TCPAddr).Port)
	if app.crashAfter > 0 {
		time.AfterFunc(app.crashAfter, func() { crash("CRASH_AFTER_MS has passed") })
	}
	server := &http.Server{Handler: app, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listening) }()
	select {
	case err = <-ended:
		return err
	case <-signals:
		return app.leave(server)
	}
}

// leave is what SIGTERM does.
func (app *application) leave(server *http.Server) error {
	switch app.stop {
	case stopAbrupt:
		os.Exit(0)
	case stopLameDuck:
		// Whoever has a connection is told to come by another one; Shutdown alone closes idle ones under a request.
		app.draining.Store(true)
		time.Sleep(app.lameDuck)
	}
	within, cancel := context.WithTimeout(context.Background(), shutdownAfter)
	defer cancel()
	if err := server.Shutdown(within); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func crash(why string) {
	fmt.Fprintln(os.Stderr, "crash:", why)
	os.Exit(1)
}

func (app *application) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	request.Body = http.MaxBytesReader(answer, request.Body, largestBody)
	answer.Header().Set("X-Version", app.version)
	answer.Header().Set("X-Pod", app.pod)
	handle, method := app.route(request.URL.Path)
	switch {
	case handle == nil:
		app.say(answer, http.StatusNotFound, "there is nothing here")
	case method != "" && request.Method != method:
		answer.Header().Set("Allow", method)
		app.say(answer, http.StatusMethodNotAllowed, "use "+method)
	default:
		handle(answer, request)
	}
}

func (app *application) route(path string) (http.HandlerFunc, string) {
	switch path {
	case "/":
		return app.front, ""
	case "/healthz":
		return app.alive, ""
	case "/readyz":
		return app.ready, ""
	case "/check":
		return app.checked, ""
	case "/slow":
		return app.slow, ""
	case "/config":
		return app.configuration, http.MethodGet
	case "/order":
		return app.order, http.MethodPost
	case "/orders":
		return app.ordered, http.MethodGet
	case "/drain":
		return app.drain(true), http.MethodPost
	case "/resume":
		return app.drain(false), http.MethodPost
	}
	return nil, ""
}

func (app *application) front(answer http.ResponseWriter, _ *http.Request) {
	count := app.hits.Add(1)
	time.Sleep(app.delay)
	if app.crashWhenLive && count >= liveRequests {
		crash(fmt.Sprintf("CRASH_WHEN_LIVE, and this was request %d", count))
	}
	// Spread evenly and without chance, so that a rate holds for few requests as well.
	if math.Floor(float64(count)*app.errorRate) > math.Floor(float64(count-1)*app.errorRate) {
		app.say(answer, http.StatusInternalServerError, "ERROR_RATE")
		return
	}
	app.say(answer, http.StatusOK, "version "+app.version)
}

func (app *application) alive(answer http.ResponseWriter, _ *http.Request) {
	app.say(answer, http.StatusOK, "alive")
}

func (app *application) ready(answer http.ResponseWriter, _ *http.Request) {
	if app.neverReady || time.Since(app.started) < app.readyAfter {
		app.say(answer, http.StatusServiceUnavailable, "not ready")
		return
	}
	app.say(answer, http.StatusOK, "ready")
}

func (app *application) checked(answer http.ResponseWriter, _ *http.Request) {
	switch {
	case strings.HasPrefix(app.check, checkJSON):
		answer.Header().Set("Content-Type", "application/json")
		app.say(answer, http.StatusOK, strings.TrimPrefix(app.check, checkJSON))
	case app.check == "ok":
		app.tell(answer, map[string]any{"ok": true, "version": app.version})
	case app.check == "fail":
		answer.Header().Set("Content-Type", "application/json")
		app.say(answer, http.StatusServiceUnavailable, `{"ok":false}`)
	default:
		app.say(answer, http.StatusInternalServerError, "CHECK=error500")
	}
}

func (app *application) slow(answer http.ResponseWriter, request *http.Request) {
	milliseconds, err := strconv.Atoi(request.URL.Query().Get("ms"))
	if err != nil || milliseconds < 0 {
		app.say(answer, http.StatusBadRequest, "use /slow?ms=NUMBER")
		return
	}
	select {
	case <-time.After(min(time.Duration(milliseconds)*time.Millisecond, longestSlow)):
		app.say(answer, http.StatusOK, "slow")
	case <-request.Context().Done():
	}
}

// configuration shows what this pod was made with: an old pod must keep what it was made with.
func (app *application) configuration(answer http.ResponseWriter, _ *http.Request) {
	file, _ := os.ReadFile(featureFile)
	app.tell(answer, map[string]any{
		"version": app.version,
		"feature": app.feature,
		"file":    strings.TrimSpace(string(file)),
	})
}

// order is what must not be done twice, and so is not tried twice by anybody on the way.
func (app *application) order(answer http.ResponseWriter, request *http.Request) {
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		app.say(answer, http.StatusBadRequest, "the body cannot be read")
		return
	}
	app.tell(answer, map[string]any{"version": app.version, "order": app.orders.Add(1)})
}

func (app *application) ordered(answer http.ResponseWriter, _ *http.Request) {
	app.tell(answer, map[string]any{"version": app.version, "orders": app.orders.Load()})
}

// drain makes each later answer the last one of its connection, or no longer; asked twice it changes nothing.
func (app *application) drain(wanted bool) http.HandlerFunc {
	return func(answer http.ResponseWriter, _ *http.Request) {
		app.draining.Store(wanted)
		app.tell(answer, map[string]any{"version": app.version, "draining": wanted})
	}
}

func (app *application) tell(answer http.ResponseWriter, value any) {
	answer.Header().Set("Content-Type", "application/json")
	text, _ := json.Marshal(value)
	app.say(answer, http.StatusOK, string(text))
}

func (app *application) say(answer http.ResponseWriter, status int, text string) {
	// Looked at as late as possible: an order to drain is to hold for requests that are being answered, too.
	if app.draining.Load() {
		answer.Header().Set("Connection", "close")
	}
	answer.WriteHeader(status)
	_, _ = io.WriteString(answer, text+"\n")
}
