package logread

import (
	"bytes"
	"strings"
)

// Colours, as terminals have them everywhere.
const (
	colorReset  = "\x1b[0m"
	colorDim    = "\x1b[2m"
	colorGreen  = "\x1b[32m"
	colorYellow = "\x1b[33m"
	colorRed    = "\x1b[31m"
	colorCyan   = "\x1b[36m"
	colorError  = "\x1b[1;31m"
	colorFatal  = "\x1b[1;37;41m"
	colorGap    = "\x1b[1;33m"
)

var levelColors = [...]string{"", colorDim, colorGreen, colorYellow, colorRed, colorFatal, colorFatal, colorFatal}

const (
	dayFormat   = "2006-01-02 -07:00"
	clockFormat = "15:04:05.000"
	noClock     = "            " // as wide
	indent      = "    "
)

// pretty appends one entry: "15:04:05.000 WARN  logger: text  error=… key=value  (caller)".
func (r *Renderer) pretty(out []byte, e *Entry) []byte {
	out = r.date(out, e)
	switch e.Kind {
	case KindMore:
		return r.more(out, e)
	case KindGap:
		return r.gap(out, e)
	}
	out = r.prefix(out, e)
	if e.Logger != "" {
		out = r.paint(out, colorCyan, e.Logger+":")
		out = append(out, ' ')
	}
	out = appendSafe(out, e.Msg)
	if e.Cut {
		out = r.paint(out, colorGap, " … (goes on; -o raw shows all of it)")
	}
	if e.Broken {
		return out // the text is the whole line
	}
	out, stack := r.fields(out, e)
	if e.Caller != "" {
		out = append(out, "  "...)
		out = r.paint(out, colorDim, "("+e.Caller+")")
	}
	return r.stack(out, stack)
}

// date shows the day in a line of its own where it is another than before.
func (r *Renderer) date(out []byte, e *Entry) []byte {
	if e.Time.IsZero() {
		return out
	}
	day := e.Time.In(r.style.Location).Format(dayFormat)
	if day == r.day {
		return out
	}
	r.day = day
	return append(r.paint(out, colorDim, "-- "+day+" --"), '\n')
}

func (r *Renderer) prefix(out []byte, e *Entry) []byte {
	if e.Time.IsZero() {
		out = append(out, noClock...)
	} else {
		out = r.paint(out, colorDim, e.Time.In(r.style.Location).Format(clockFormat))
	}
	out = append(out, ' ')
	level := strings.ToUpper(e.Level.String())
	out = r.paint(out, levelColors[e.Level], level)
	for n := len(level); n < 6; n++ {
		out = append(out, ' ')
	}
	return out
}

// more shows a line that continues an entry, such as one of a stack trace.
func (r *Renderer) more(out []byte, e *Entry) []byte {
	text := strings.TrimLeft(e.Msg, "\t")
	if text == "" {
		return out
	}
	out = append(out, indent...)
	for n := len(e.Msg) - len(text); n > 0; n-- {
		out = append(out, indent...)
	}
	out = appendSafe(out, text)
	if e.Cut {
		out = r.paint(out, colorGap, " … (goes on; -o raw shows all of it)")
	}
	return out
}

// gap shows etcdsup's own marker so that nobody takes it for a line of etcd's.
func (r *Renderer) gap(out []byte, e *Entry) []byte {
	out = r.prefix(out, e)
	var facts []byte
	for _, f := range e.Fields {
		facts = append(facts, ' ', ' ')
		facts = append(appendSafe(facts, f.Key), '=')
		facts = appendValue(facts, f)
	}
	return r.paint(out, colorGap, "~~~~ GAP: output of etcd is missing here"+string(facts)+" ~~~~")
}

// fields appends the fields, the error first, and hands back the stack trace that zap may have added.
func (r *Renderer) fields(out []byte, e *Entry) (_ []byte, stack string) {
	for _, f := range e.Fields {
		if f.Key == "error" {
			out = r.field(out, f, colorError)
		}
	}
	for _, f := range e.Fields {
		switch {
		case f.Key == "error":
		case f.Key == "stacktrace" && f.Text:
			stack = f.Value
		default:
			out = r.field(out, f, "")
		}
	}
	return out, stack
}

func (r *Renderer) field(out []byte, f Field, color string) []byte {
	out = append(out, ' ', ' ')
	if color != "" {
		return r.paint(out, color, string(appendValue(append(appendSafe(nil, f.Key), '='), f)))
	}
	out = r.paint(out, colorDim, string(append(appendSafe(nil, f.Key), '=')))
	return appendValue(out, f)
}

func (r *Renderer) stack(out []byte, trace string) []byte {
	if trace == "" {
		return out
	}
	for line := range strings.SplitSeq(trace, "\n") {
		text := strings.TrimLeft(line, "\t")
		out = append(out, '\n')
		out = append(out, bytes.Repeat([]byte(indent), 1+len(line)-len(text))...)
		out = appendSafe(out, text)
	}
	return out
}

// paint appends text in a colour. Text from the log must have been made safe before, or be made so here.
func (r *Renderer) paint(out []byte, color, text string) []byte {
	if !r.style.Color || color == "" {
		return appendSafe(out, text)
	}
	out = append(out, color...)
	out = appendSafe(out, text)
	return append(out, colorReset...)
}
