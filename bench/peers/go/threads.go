package main

import "runtime"

// to_thread, run_threadsafe: between a goroutine and one that is locked to its thread. It is one round
// trip, begun by either; the network bench (bench/net.py) asks for them.

func lockedThread(asked <-chan int, answers chan<- int) {
	runtime.LockOSThread()
	for question := range asked {
		answers <- question
	}
}

func callThread(n int) {
	asked, answers := make(chan int), make(chan int)
	sum := 0

	go lockedThread(asked, answers)
	start()
	for i := 0; i < n; i++ {
		asked <- i
		sum += <-answers
	}
	stop()
	close(asked)
	check(sum, n)
}

func callIn(n int) {
	asked, answers := make(chan int), make(chan int)
	done := make(chan int)

	go func() {
		for question := range asked {
			go func(answer int) { answers <- answer }(question)
		}
	}()
	go func() {
		sum := 0
		runtime.LockOSThread()
		start()
		for i := 0; i < n; i++ {
			asked <- i
			sum += <-answers
		}
		stop()
		done <- sum
	}()
	check(<-done, n)
	close(asked)
}
