package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// conduct is how this instance behaves; all of it comes from the environment, so that a pod's template chooses it.
type conduct struct {
	readyAfter    time.Duration
	neverReady    bool
	check         string
	crashAfter    time.Duration
	crashWhenLive bool
	errorRate     float64
	stop          string
	lameDuck      time.Duration
	delay         time.Duration
	feature       string
}

const (
	stopLameDuck = "lameduck"
	stopGraceful = "graceful"
	stopAbrupt   = "abrupt"
	checkJSON    = "json:"
)

// readConduct reads it, and refuses what it does not know: a test with a typing error must not pass.
func readConduct() (conduct, error) {
	var problems []string
	milliseconds := func(name string, otherwise int) time.Duration {
		value := number(name, float64(otherwise), &problems)
		return time.Duration(value * float64(time.Millisecond))
	}
	found := conduct{
		readyAfter:    milliseconds("READY_AFTER_MS", 0),
		neverReady:    os.Getenv("NEVER_READY") == "1",
		check:         getenv("CHECK", "ok"),
		crashAfter:    milliseconds("CRASH_AFTER_MS", 0),
		crashWhenLive: os.Getenv("CRASH_WHEN_LIVE") == "1",
		errorRate:     number("ERROR_RATE", 0, &problems),
		stop:          getenv("STOP", stopLameDuck),
		lameDuck:      milliseconds("LAMEDUCK_MS", 3000),
		delay:         milliseconds("DELAY_MS", 0),
		feature:       os.Getenv("FEATURE"),
	}
	switch found.stop {
	case stopLameDuck, stopGraceful, stopAbrupt:
	default:
		problems = append(problems, fmt.Sprintf("STOP=%s: use lameduck, graceful or abrupt", found.stop))
	}
	switch {
	case found.check == "ok", found.check == "fail", found.check == "error500":
	case strings.HasPrefix(found.check, checkJSON):
	default:
		problems = append(problems, fmt.Sprintf("CHECK=%s: use ok, fail, error500 or json:{...}", found.check))
	}
	if found.errorRate > 1 {
		problems = append(problems, "ERROR_RATE: use 0 to 1")
	}
	if problems != nil {
		return found, fmt.Errorf("%s", strings.Join(problems, "; "))
	}
	return found, nil
}

func getenv(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func number(name string, otherwise float64, problems *[]string) float64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || value < 0 {
		*problems = append(*problems, fmt.Sprintf("%s=%s: use a number of 0 or more", name, text))
	}
	return value
}
