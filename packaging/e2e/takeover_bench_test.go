package e2e

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/packaging/lab"
)

// BenchmarkChangeOver is how long a single etcd does not answer while it is taken over from its start script, against the
// stop and the start that this etcd needs by itself, measured just before on the same host by the same ruler.
func BenchmarkChangeOver(b *testing.B) {
	var own, over []time.Duration
	for range b.N {
		o := newOldHost(b, "/srv/etcd")
		start := "setsid " + o.folder + "/start-etcd.sh </dev/null >/dev/null 2>&1 &"
		o.Sh(start)
		awaitAnswer(b, o.client)
		own = append(own, outage(b, o.client, func() {
			o.Sh("p=$(pgrep -x etcd); kill $p; while kill -0 $p 2>/dev/null; do :; done; " + start)
		}))
		over = append(over, outage(b, o.client, func() {
			o.Must(binary, "init", "--take-over", strings.TrimSpace(o.Must("pgrep", "-x", "etcd")), "--yes")
		}))
	}
	slices.Sort(own)
	slices.Sort(over)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(own[len(own)/2].Milliseconds()), "own-ms")
	b.ReportMetric(float64(over[len(over)/2].Milliseconds()), "takeover-ms")
	b.ReportMetric(float64(over[len(over)-1].Milliseconds()), "worst-ms")
	b.ReportMetric(float64(over[len(over)/2])/float64(own[len(own)/2]), "ratio")
}

// answers asks etcd's health by a connection of its own: a client would wait before it connects again, and hide the time.
func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
	if err != nil {
		return false
	}
	c := http.Client{Transport: &http.Transport{DialContext: lab.Dial, DisableKeepAlives: true}}
	resp, err := c.Do(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return err == nil && resp.StatusCode == http.StatusOK
}

func awaitAnswer(b *testing.B, url string) {
	b.Helper()
	tick, deadline := time.NewTicker(2*time.Millisecond), time.After(lab.Patience)
	defer tick.Stop()
	for !answers(b.Context(), url) {
		select {
		case <-tick.C:
		case <-deadline:
			b.Fatalf("%s never answers", url)
		}
	}
}

// outage is the longest time without an answer while something is done, until there are answers again.
func outage(b *testing.B, url string, do func()) (longest time.Duration) {
	b.Helper()
	done, measured := make(chan struct{}), make(chan time.Duration)
	go func() { // ends once it is done, with the first answer after that
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		last, over := time.Now(), false
		for {
			if answers(b.Context(), url) {
				longest, last = max(longest, time.Since(last)), time.Now()
				if over {
					measured <- longest
					return
				}
			}
			select {
			case <-done:
				over = true
			case <-b.Context().Done():
				return
			default:
			}
			<-tick.C
		}
	}()
	do()
	close(done)
	select {
	case longest = <-measured:
	case <-time.After(lab.Patience):
		b.Fatalf("%s does not answer again", url)
	}
	return longest
}
