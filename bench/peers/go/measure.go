package main

// Clocks, memory figures and the protocol of the bench's programs: what bench/measure.h is for
// those in C, with the same rules for warm-up and repetition.

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

const (
	target = 250 * time.Millisecond
	enough = 180 * time.Millisecond // a call this long is the one that counts
	growth = 8                      // at most, from one call to the next: the first ones are cold
)

type span struct {
	wall time.Duration
	cpu  time.Duration
}

var (
	row   string
	begun struct {
		wall time.Time
		cpu  time.Duration
	}
	last span
)

func start() {
	begun.cpu = cpuTime()
	begun.wall = time.Now()
}

func stop() {
	last.wall = time.Since(begun.wall)
	last.cpu = cpuTime() - begun.cpu
}

// cpuTime is the time of all threads, those of the garbage collector among them.
func cpuTime() time.Duration {
	const processClock = 2 // CLOCK_PROCESS_CPUTIME_ID
	var t syscall.Timespec

	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, processClock,
		uintptr(unsafe.Pointer(&t)), 0)
	if errno != 0 {
		fail("clock_gettime: %v", errno)
	}
	return time.Duration(t.Nano())
}

// loop calls body with growing n, each a multiple of granule, until a call takes long enough.
func loop(body func(n int), granule int) {
	granules := 1

	for {
		body(granules * granule)
		if last.wall >= enough {
			break
		}
		fitting := float64(granules) * float64(target) / float64(last.wall+1)
		if fitting < float64(granules*growth) {
			granules = int(fitting) + 1
		} else {
			granules *= growth
		}
	}
	reportSpan(granules * granule)
}

func reportSpan(operations int) {
	fmt.Printf("%s\tns\t%.3f\t%.3f\n", row, float64(last.wall)/float64(operations),
		float64(last.cpu)/float64(operations))
}

func report(unit string, value float64) {
	fmt.Printf("%s\t%s\t%.10g\t-\n", row, unit, value)
}

func memoryKiB() float64 {
	return procKiB("/proc/self/status", "VmRSS:") + procKiB("/proc/self/status", "VmPTE:")
}

func peakKiB() float64 {
	return procKiB("/proc/self/status", "VmHWM:") + procKiB("/proc/self/status", "VmPTE:")
}

// fitting is how many of wanted tasks of so many KiB fit into half of the available memory.
func fitting(wanted int, kibEach float64) int {
	if fit := procKiB("/proc/meminfo", "MemAvailable:") / 2 / kibEach; fit < float64(wanted) {
		return int(fit)
	}
	return wanted
}

func procKiB(path, field string) float64 {
	for _, line := range bytes.Split(readFile(path), []byte("\n")) {
		if words := bytes.Fields(line); len(words) >= 2 && string(words[0]) == field {
			value, err := strconv.ParseFloat(string(words[1]), 64)
			if err != nil {
				fail("%s: %v", path, err)
			}
			return value
		}
	}
	fail("%s has no %s", path, field)
	return 0
}

func mappings() int {
	return bytes.Count(readFile("/proc/self/maps"), []byte("\n"))
}

func readFile(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		fail("%v", err)
	}
	return text
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, row+": "+format+"\n", arguments...)
	os.Exit(1)
}
