package porttest

import (
	"net"
	"sync"
	"testing"
)

// TestNobodyElseGetsIt: of many reservations at once none comes twice, and each is free to be listened on.
func TestNobodyElseGetsIt(t *testing.T) {
	const many = 300
	addrs := make([]string, many)
	var all sync.WaitGroup
	for i := range addrs {
		all.Go(func() { addrs[i] = Addr(t, "127.0.0.1") })
	}
	all.Wait()
	seen := map[string]bool{}
	for _, addr := range addrs {
		if seen[addr] {
			t.Errorf("%s was given twice", addr)
		}
		seen[addr] = true
	}
	ln, err := net.Listen("tcp", addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
}

// TestItIsFreeAgain: the end of a test gives back what it had.
func TestItIsFreeAgain(t *testing.T) {
	var port int
	t.Run("has it", func(t *testing.T) { port = Reserve(t, "127.0.0.1") })
	claim, err := net.Listen("unix", claimOf(port))
	if err != nil {
		t.Fatal(err)
	}
	_ = claim.Close()
}
