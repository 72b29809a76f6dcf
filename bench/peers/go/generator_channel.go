//go:build !go1.23

package main

// generator_step: a goroutine that sends, and a loop over what comes.

func generate(n int, items chan<- int) {
	for i := 0; i < n; i++ {
		items <- i
	}
	close(items)
}

func stepGenerator(n int) {
	items := make(chan int)
	sum := 0

	start()
	go generate(n, items)
	for item := range items {
		sum += item
	}
	stop()
	check(sum, n)
}
