// The bench's rows on Go.
//
// Goroutines are the tasks.  The bench runs each row with GOMAXPROCS=1, which is what compares
// with a scheduler on one kernel thread, and with Go's default, and lets the faster one count.
// The collector runs as it does by default, and what it costs is in the CPU time.
//
// What Go has no word for is said with its nearest:
//
//	semaphore   a buffered channel: send to acquire, receive to release
//	event set   a receive from a closed channel
//	generator   iter.Pull, from Go 1.23 on; before that a goroutine and an unbuffered channel
package main

import (
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	crowd   = 10_000
	burst   = 100_000
	million = 1_000_000
)

var rows = []struct {
	name string
	run  func()
}{
	{"switch_yield", func() { loop(switchBetweenTwo, 2) }},
	{"yield_10k", func() { loop(yieldInACrowd, crowd) }},
	{"spawn_await", func() { loop(spawnAndWait, 1) }},
	{"spawn_burst", spawnBurst},
	{"handoff", func() { loop(passItems, 1) }},
	{"lock_pair", func() { loop(lockAndUnlock, 1) }},
	{"sem_pair", func() { loop(acquireAndRelease, 1) }},
	{"event_set", func() { loop(waitForThePast, 1) }},
	{"generator_step", func() { loop(stepGenerator, 1) }},
	{"parked_million", parkedMillion},
	{"timer_set_cancel", timerSetCancel},
	{"timer_renew", timerRenew},
	{"timer_cancel_random", timerCancelRandom},
	{"to_thread", func() { loop(callThread, 1) }},
	{"run_threadsafe", func() { loop(callIn, 1) }},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintf(os.Stderr, "usage: %s ROW | --list | --about\n", os.Args[0])
		os.Exit(2)
	}
	if os.Args[1] == "--about" {
		fmt.Println(runtime.Version())
		return
	}

	list := os.Args[1] == "--list"
	for _, r := range rows {
		if list {
			fmt.Println(r.name)
		} else if os.Args[1] == r.name {
			row = r.name
			r.run()
			return
		}
	}
	if !list {
		fmt.Fprintf(os.Stderr, "%s has no row %s\n", os.Args[0], os.Args[1])
		os.Exit(2)
	}
}

// switch_yield: two goroutines that yield to each other from different functions.

func left(steps int, done *sync.WaitGroup) {
	for i := 0; i < steps; i++ {
		runtime.Gosched()
	}
	done.Done()
}

func right(steps int, done *sync.WaitGroup) {
	for i := 0; i < steps; i++ {
		runtime.Gosched()
	}
	done.Done()
}

func switchBetweenTwo(n int) {
	var done sync.WaitGroup

	done.Add(2)
	start()
	go left(n/2, &done)
	go right(n/2, &done)
	done.Wait()
	stop()
}

// yield_10k: 10,000 goroutines that yield, after each was woken in shuffled order.

func yieldInACrowd(n int) {
	var waiting, done sync.WaitGroup
	var gates [crowd]chan struct{}

	waiting.Add(crowd)
	done.Add(crowd)
	for i := range gates {
		gate := make(chan struct{})
		gates[i] = gate
		go func() {
			waiting.Done()
			<-gate
			for step := 0; step < n/crowd; step++ {
				runtime.Gosched()
			}
			done.Done()
		}()
	}
	waiting.Wait()
	order := rand.New(rand.NewSource(1)).Perm(crowd)

	start()
	for _, i := range order {
		close(gates[i])
	}
	done.Wait()
	stop()
}

// spawn_await: start a goroutine that returns at once, and wait for it.

var finished = make(chan struct{}, 1)

func nothing() {
	finished <- struct{}{}
}

func spawnAndWait(n int) {
	start()
	for i := 0; i < n; i++ {
		go nothing()
		<-finished
	}
	stop()
}

// spawn_burst: 100,000 goroutines at once, the first that this process makes.

var burstLeft int32 = burst

func oneOfBurst() {
	if atomic.AddInt32(&burstLeft, -1) == 0 {
		finished <- struct{}{}
	}
}

func spawnBurst() {
	before := memoryKiB()

	start()
	for i := 0; i < burst; i++ {
		go oneOfBurst()
	}
	<-finished
	stop()

	reportSpan(burst)
	report("KiB", (peakKiB()-before)/burst)
}

// handoff: an item through an unbuffered channel.

func produce(n int, items chan<- int) {
	for i := 0; i < n; i++ {
		items <- i
	}
}

func passItems(n int) {
	items := make(chan int)
	sum := 0

	go produce(n, items)
	start()
	for i := 0; i < n; i++ {
		sum += <-items
	}
	stop()
	check(sum, n)
}

func check(sum, n int) {
	if sum != n*(n-1)/2 {
		fail("items were lost")
	}
}

// lock_pair, sem_pair, event_set: what nobody else wants, and what has happened already.

func lockAndUnlock(n int) {
	var mutex sync.Mutex

	start()
	for i := 0; i < n; i++ {
		mutex.Lock()
		mutex.Unlock()
	}
	stop()
}

func acquireAndRelease(n int) {
	semaphore := make(chan struct{}, 2)

	start()
	for i := 0; i < n; i++ {
		semaphore <- struct{}{}
		<-semaphore
	}
	stop()
}

func waitForThePast(n int) {
	event := make(chan struct{})

	close(event)
	start()
	for i := 0; i < n; i++ {
		<-event
	}
	stop()
}

// parked_million: goroutines that wait on a channel.

func parkedMillion() {
	var waiting sync.WaitGroup
	never := make(chan struct{})
	count := fitting(million, 3)
	before := memoryKiB()

	waiting.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			waiting.Done()
			<-never
		}()
	}
	waiting.Wait()
	report("KiB", (memoryKiB()-before)/float64(count))
	report("tasks", float64(count))
	report("mappings", float64(mappings()))
}

// The timers: a million live ones, which are due in the order in which they were set, and far
// away.  A timer that was made once is set and cancelled by Reset and Stop, which is cheaper than
// to make one each time.

const far = time.Hour

func unexpected() {
	fail("a timer fired")
}

func aMillionTimers() []*time.Timer {
	timers := make([]*time.Timer, million)
	for i := range timers {
		timers[i] = time.AfterFunc(far, unexpected)
	}
	return timers
}

func timerSetCancel() {
	timers := aMillionTimers()
	timer := time.AfterFunc(far, unexpected)

	loop(func(n int) {
		start()
		for i := 0; i < n; i++ {
			timer.Reset(far)
			timer.Stop()
		}
		stop()
	}, 1)
	runtime.KeepAlive(timers)
}

func timerRenew() {
	timers := aMillionTimers()
	next := 0

	loop(func(n int) {
		start()
		for i := 0; i < n; i++ {
			timers[next].Reset(far)
			if next++; next == million {
				next = 0
			}
		}
		stop()
	}, 1)
}

// A quarter of the million is cancelled, so that it is still among many at the end.
func timerCancelRandom() {
	timers := aMillionTimers()
	order := rand.New(rand.NewSource(1)).Perm(million)[:million/4]

	start()
	for _, i := range order {
		timers[i].Stop()
	}
	stop()
	reportSpan(len(order))
}
