package logsink

import (
	"strconv"
	"time"
)

// etcdTime is the form of etcd's own time stamps.
const etcdTime = "2006-01-02T15:04:05.000000Z0700"

// appendMarker appends the line that stands in the log where output was
// dropped, in the shape of etcd's own lines. It fits into markSize.
func appendMarker(b []byte, v *view, now time.Time) []byte {
	b = append(b, `{"level":"warn","ts":"`...)
	b = now.UTC().AppendFormat(b, etcdTime)
	b = append(b, `","logger":"etcdsup","msg":"log output dropped","dropped-bytes":`...)
	b = strconv.AppendUint(b, v.gapBytes, 10)
	b = append(b, `,"dropped-lines":`...)
	b = strconv.AppendUint(b, v.gapLines, 10)
	b = append(b, `,"from":"`...)
	b = time.UnixMicro(v.gapFrom).UTC().AppendFormat(b, etcdTime)
	b = append(b, `","to":"`...)
	b = time.UnixMicro(v.gapTo).UTC().AppendFormat(b, etcdTime)
	return append(b, "\"}\n"...)
}
