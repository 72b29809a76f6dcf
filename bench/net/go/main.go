// The servers of the network bench on Go, by the standard library.
//
//	net-go echo    package net, a goroutine for each connection
//	net-go http    package net/http
//
// They keep to the rules of bench/net/server.h. The bench runs each with GOMAXPROCS=1 and with 2
// on its one CPU, and lets the faster one count.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
)

const message = 1024

var received, requests atomic.Int64 // bytes of the echo server, requests of the web server

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintf(os.Stderr, "usage: %s echo | http | --about\n", os.Args[0])
		os.Exit(2)
	}
	if os.Args[1] == "--about" {
		fmt.Println(runtime.Version())
		return
	}

	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	fmt.Println(listener.Addr())
	if os.Args[1] == "http" {
		go serveHTTP(listener)
	} else {
		go serveEcho(listener)
	}
	io.Copy(io.Discard, os.Stdin)
	report()
}

func serveEcho(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go echo(client)
	}
}

func echo(client net.Conn) {
	defer client.Close()
	buffer := make([]byte, 2*message)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			break
		}
		received.Add(int64(n))
		if _, err = client.Write(buffer[:n]); err != nil {
			break
		}
	}
}

func serveHTTP(listener net.Listener) {
	answer := []byte("{\"hello\": \"world\"}\n")
	fail(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	})))
}

func report() {
	var used syscall.Rusage

	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		fail(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Nano()) / 1e9 }
	fmt.Printf("%d\t%.6f\t%.6f\n", requests.Load()+received.Load()/message, seconds(used.Utime), seconds(used.Stime))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
