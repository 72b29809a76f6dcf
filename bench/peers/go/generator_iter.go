//go:build go1.23

package main

import "iter"

// generator_step: iter.Pull switches straight between the two, past the scheduler.

func generate(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
		}
	}
}

func stepGenerator(n int) {
	sum := 0

	start()
	next, cancel := iter.Pull(generate(n))
	for item, ok := next(); ok; item, ok = next() {
		sum += item
	}
	cancel()
	stop()
	check(sum, n)
}
