package logsink

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKill: whenever the pumping process is killed, its successor goes on with
// the very next byte.
func TestKill(t *testing.T) {
	kills, least := 40, int64(0)
	if long() {
		kills, least = 300, 300<<20
	}
	for _, name := range []string{"plain.log", "gz.log"} {
		t.Run(name, func(t *testing.T) { killMany(t, name, kills, least) })
		kills, least = kills/4, least/4
	}
}

func killMany(t *testing.T, name string, kills int, least int64) {
	file := filepath.Join(t.TempDir(), name)
	p := must[*Pipe](t)(NewPipe(2 << 20))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := startWriter(t, p, seed, 0)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	done := 0
	for ; done < kills || written(file) < least; done++ {
		killOnce(t, w.cmd.Process.Pid, file, time.Duration(rand.IntN(12000))*time.Microsecond)
	}
	// The pipe has to stay alive beyond the writer's end.
	p = must[*Pipe](t)(RecoverPipe(w.cmd.Process.Pid))
	defer shut(p)
	s := must[*Sink](t)(Start(p, testOptions(file)))
	total := w.finish(t)
	if err := s.Drain(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Written != uint64(total) {
		t.Errorf("stats tell of %d bytes written, it were %d", st.Written, total)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	compareStream(t, file, newStream(seed, 20000), total)
	t.Logf("%d kills, %d bytes, %d files", done, total, len(logFiles(t, file)))
}

func written(file string) (sum int64) {
	names, _ := filepath.Glob(strings.TrimSuffix(file, ".log") + "*")
	for _, n := range names {
		sum += fileSize(n)
	}
	return sum
}

// killOnce runs a pump for a while, then kills it.
func killOnce(t *testing.T, pid int, file string, after time.Duration) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"=pump", fmt.Sprintf("LOGSINK_TEST_PID=%d", pid), "LOGSINK_TEST_FILE="+file)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Some are killed while they start.
	if rand.IntN(4) > 0 {
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("the pump did not start: %q %v", line, err)
		}
	}
	<-time.After(after)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
