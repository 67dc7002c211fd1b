// SPDX-License-Identifier: Apache-2.0

// go_map does to a Go map what examples/mapdemo does to its own, under Go's heap profiler with every allocation
// recorded, and writes Go's profile.
//
//	go_map PROFILE SCENARIO N WINDOW
//
// It prints what the runtime's map header says, in the words of mapdemo.
package main

import (
	"fmt"
	"log"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"unsafe"
)

type table = map[uint64]uint64

// header mirrors the first fields of the runtime's hmap (Go 1.19).
type header struct {
	count int
	flags uint8
	b     uint8
}

// Of the scenario "syncmap".
var syncMap sync.Map

// The samples that count are those with mapWork on their stack.  It returns the map, which therefore lives in
// the heap from the first bucket on.
//
//go:noinline
func mapWork(scenario string, n, window uint64) table {
	m := make(table)
	switch scenario {
	case "fill", "drain":
		for key := uint64(0); key < n; key++ {
			m[key] = key
		}
		if scenario == "drain" {
			for key := uint64(0); key < n; key++ {
				delete(m, key)
			}
		}
	case "window":
		for key := uint64(0); key < n; key++ {
			m[key] = key
			if key >= window {
				delete(m, key-window)
			}
		}
	case "syncmap":
		for key := uint64(0); key < n; key++ {
			syncMap.Store(key, key)
			syncMap.Load(key)
			syncMap.Load(key)
			if key >= window {
				syncMap.Delete(key - window)
			}
		}
	default:
		log.Fatalf("go_map: unknown scenario %q", scenario)
	}
	return m
}

func number(text string) uint64 {
	value, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	runtime.MemProfileRate = 1
	if len(os.Args) != 5 {
		log.Fatal("usage: go_map PROFILE SCENARIO N WINDOW")
	}
	file, err := os.Create(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	m := mapWork(os.Args[2], number(os.Args[3]), number(os.Args[4]))

	// The profile shows the heap as of the last collection that was completed: the first one finds what is
	// garbage, the second one publishes it.
	runtime.GC()
	runtime.GC()
	if err := pprof.Lookup("heap").WriteTo(file, 0); err != nil {
		log.Fatal(err)
	}
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}
	h := *(**header)(unsafe.Pointer(&m))
	fmt.Printf("len=%d bucket_count=%d\n", h.count, uint64(1)<<h.b)
	runtime.KeepAlive(m)
}
