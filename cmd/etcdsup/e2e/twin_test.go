package e2e

import (
	"os"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/porttest"
)

// TestCopyOfALivingMember: a second host has the data of a member that lives, without a record or with a copy of that too,
// as a virtual machine that was cloned. It is held as long as that member lives, and may become a member of its own; the
// member itself starts as ever.
func TestCopyOfALivingMember(t *testing.T) { eachEtcd(t, false, copyOfALivingMember) }

func copyOfALivingMember(t *testing.T, binary string) {
	host := func(name string) *instance {
		return newHostOf(t, binary, name, porttest.Addr(t, "127.0.0.1"), porttest.Addr(t, "127.0.0.1"))
	}
	c, copied, cloned := host("c"), host("d"), host("e")
	dc := c.run()
	c.awaitReady()
	client := dial(t, c.client)
	revision := fillKeys(t, client, 100)
	for _, in := range []*instance{copied, cloned} {
		if err := os.MkdirAll(in.dir+"/state", 0o700); err != nil {
			t.Fatal(err)
		}
		copyAll(t, c.data, in.data)
	}
	await(t, "a record of the member", patience, func() bool { return readAll(c.dir+"/state/mark") != "" })
	copyAll(t, c.dir+"/state/mark", cloned.dir+"/state/mark")
	daemons := []*daemon{copied.run(), cloned.run()}
	for _, in := range []*instance{copied, cloned} {
		in.awaitHeld("which is alive at " + c.peer)
		in.expectHeld("which is alive at "+c.peer, "mode join --endpoint "+c.client)
	}
	put(t, client, "goes", "on")

	t.Log(copied.expect(0, "mode", "join", "--endpoint", c.client, "--yes").out)
	expectJoined(t, client, copied, true)
	expectKeys(t, dial(t, copied.client), 100, revision)
	removeMember(t, client, copied)

	c.expect(0, "restart")
	c.awaitReady()
	c.powerCut(dc)
	cloned.expect(0, "start") // the member has moved, as far as anybody can tell
	cloned.awaitReady()
	expectKeys(t, dial(t, cloned.client), 100, revision)
	endAll(t, daemons...)
}
