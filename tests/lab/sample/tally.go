package main

import (
	"errors"
	"math"
	"sync"
	"time"
)

const (
	keptFailures = 1000
	keptVersions = 100
	keptPods     = 1000
	// Latencies are kept in steps of two percent from a microsecond on: exact enough, and never more than this many.
	latencySteps = 1100
	latencyStep  = 1.02
)

// tally counts what came of the requests of one load.
type tally struct {
	lock      sync.Mutex
	total     int
	failed    int
	closed    int
	kinds     map[string]int
	failures  []failureReport
	versions  map[string]*span
	pods      map[string]int
	latencies [latencySteps]int
	slowest   time.Duration
}

// span is when a version answered, as a whole and to each client; in milliseconds since 1970.
type span struct {
	Count   int               `json:"count"`
	First   int64             `json:"first"`
	Last    int64             `json:"last"`
	Clients map[int]*[2]int64 `json:"clients"`
}

type failureReport struct {
	At     int64  `json:"at"`
	Client int    `json:"client"`
	Kind   string `json:"kind"`
	Detail string `json:"detail"`
	Reused bool   `json:"reused"`
}

func (sum *tally) count(asking *client, began time.Time, got answer, err error) {
	now := time.Now()
	sum.lock.Lock()
	defer sum.lock.Unlock()
	sum.total++
	// An answer that tells of a failure is an answer of its version all the same.
	if got.status != 0 {
		sum.answered(asking.number, now.UnixMilli(), got)
	}
	if err == nil {
		sum.latencies[latencyIndex(now.Sub(began))]++
		sum.slowest = max(sum.slowest, now.Sub(began))
		return
	}
	sum.failed++
	problem := failure{"error", err.Error()}
	errors.As(err, &problem)
	if sum.kinds == nil {
		sum.kinds = map[string]int{}
	}
	sum.kinds[problem.kind]++
	if len(sum.failures) < keptFailures {
		report := failureReport{now.UnixMilli(), asking.number, problem.kind, problem.detail, asking.reused}
		sum.failures = append(sum.failures, report)
	}
}

// leftIdle notes a connection that the server closed while nothing was asked on it.
func (sum *tally) leftIdle() {
	sum.lock.Lock()
	defer sum.lock.Unlock()
	sum.closed++
}

func (sum *tally) answered(number int, now int64, got answer) {
	if sum.versions == nil {
		sum.versions, sum.pods = map[string]*span{}, map[string]int{}
	}
	name := orUnknown(got.version)
	if sum.versions[name] == nil && len(sum.versions) >= keptVersions {
		name = "others"
	}
	seen := sum.versions[name]
	if seen == nil {
		seen = &span{First: now, Clients: map[int]*[2]int64{}}
		sum.versions[name] = seen
	}
	seen.Count++
	seen.Last = now
	if moments := seen.Clients[number]; moments != nil {
		moments[1] = now
	} else {
		seen.Clients[number] = &[2]int64{now, now}
	}
	if _, known := sum.pods[got.pod]; got.pod != "" && (known || len(sum.pods) < keptPods) {
		sum.pods[got.pod]++
	}
}

func (sum *tally) report(each *target) map[string]any {
	sum.lock.Lock()
	defer sum.lock.Unlock()
	// The parts are copied, as they are written only after the lock is gone.
	versions, kinds, pods := map[string]span{}, map[string]int{}, map[string]int{}
	for name, seen := range sum.versions {
		copied := *seen
		copied.Clients = map[int]*[2]int64{}
		for number, moments := range seen.Clients {
			pair := *moments
			copied.Clients[number] = &pair
		}
		versions[name] = copied
	}
	for kind, count := range sum.kinds {
		kinds[kind] = count
	}
	for pod, count := range sum.pods {
		pods[pod] = count
	}
	return map[string]any{
		"url": each.url, "mode": each.mode, "clients": each.clients, "probes": each.probes,
		"total": sum.total, "failed": sum.failed, "closed": sum.closed, "kinds": kinds, "versions": versions, "pods": pods,
		"failures": append([]failureReport{}, sum.failures...),
		"p50":      sum.quantile(0.5), "p99": sum.quantile(0.99), "slowest": milliseconds(sum.slowest),
	}
}

func latencyIndex(taken time.Duration) int {
	microseconds := max(1, float64(taken.Nanoseconds())/1000)
	return min(latencySteps-1, int(math.Log(microseconds)/math.Log(latencyStep)))
}

// quantile is of the requests that were answered well, in milliseconds.
func (sum *tally) quantile(share float64) float64 {
	wanted := int(math.Ceil(share * float64(sum.total-sum.failed)))
	below := 0
	for index, count := range sum.latencies {
		below += count
		if below >= wanted && below > 0 {
			return math.Pow(latencyStep, float64(index)+0.5) / 1000
		}
	}
	return 0
}

func milliseconds(taken time.Duration) float64 {
	return float64(taken.Nanoseconds()) / 1e6
}
