package session

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgencoding"
	"github.com/opmux/opmux/wire/pgwire"
)

// Built-in types by what of their binary form is text.
var (
	// textForms are text as a whole (what jsonb and jsonpath have before it is ASCII).
	textForms = []uint32{19, 25, 114, 705, 1042, 1043, 3802, 4072}
	// textArrays are arrays of those.
	textArrays = []uint32{199, 1003, 1009, 1014, 1015, 3807, 4073}
	// noText have none: booleans, bytes, numbers, dates and times, uuids, addresses, bits,
	// geometry, ranges of numbers and dates, and the arrays of them.
	noText = []uint32{16, 17, 18, 20, 21, 23, 26, 28, 29, 600, 601, 602, 603, 604, 628, 650, 700, 701, 718, 774, 790, 829, 869, 1082, 1083, 1114, 1184, 1186,
		1266, 1560, 1562, 1700, 2950, 3220, 3904, 3906, 3908, 3910, 3912, 3926, 5069,
		651, 791, 1000, 1001, 1002, 1005, 1007, 1016, 1017, 1021, 1022, 1028, 1040, 1041, 1115, 1182, 1183, 1185, 1187, 1231, 1270, 1561, 1563, 2951, 3905, 3907, 3909, 3911, 3913, 3927}
)

// readParams reads what a Bind gives to a statement.
func (s *Session) readParams(st *statement, given []pgwire.Param) ([]event.Param, *unread, error) {
	params := eventParams(given, s.parameterTypes(st))
	c := s.charsetNow()
	if c.name == utf8Name {
		return params, nil, nil
	}
	strange := func(p event.Param) bool { return !p.Null && !pgencoding.ASCII(p.Value) }
	if slices.ContainsFunc(params, func(p event.Param) bool { return strange(p) && p.Binary && p.OID == 0 }) {
		if err := s.drain(); err != nil { // its types are on their way
			return nil, nil, err
		}
		params = eventParams(given, s.parameterTypes(st))
	}
	for i := range params {
		if !strange(params[i]) {
			continue
		}
		if err := c.learnParam(params[i]); err != nil {
			return nil, nil, err
		}
		if u := c.readParam(i, &params[i]); u != nil {
			return nil, u, nil
		}
	}
	return params, nil, nil
}

// learnParam is learn of what is text as a whole.
func (c charset) learnParam(p event.Param) error {
	if p.Binary && !slices.Contains(textForms, p.OID) || !c.exact() {
		return nil
	}
	return c.learn(p.Value)
}

// readParam reads one parameter that is not ASCII.
func (c charset) readParam(i int, p *event.Param) *unread {
	read, known := c.decode, true
	if p.Binary {
		read, known = c.binaryForm(p.OID)
	}
	switch {
	case p.Binary && slices.Contains(noText, p.OID):
		return nil
	case !c.exact():
		return &unread{refusedStatement(encodingRefusal(c), 0), false}
	case !known:
		return &unread{refusedStatement(&classify.Refusal{Construct: fmt.Sprintf("parameter $%d in binary format in client_encoding %s", i+1, c.name),
			Reason: fmt.Sprintf("where text is in the binary form of its type (OID %d) is not known", p.OID),
			Hint:   "Send it in text format, or SET client_encoding = 'UTF8'."}, 0), false}
	}
	value, ok := read(p.Value)
	if !ok {
		return &unread{refusedStatement(encodingRefusal(c), 0), true}
	}
	p.Value = value
	return nil
}

// binaryForm returns what reads the binary form of a type. False: where text is in it is
// not known.
func (c charset) binaryForm(oid uint32) (read func([]byte) ([]byte, bool), known bool) {
	switch {
	case slices.Contains(noText, oid):
		return func(form []byte) ([]byte, bool) { return form, true }, true
	case slices.Contains(textForms, oid):
		return c.decode, true
	case slices.Contains(textArrays, oid):
		return c.decodeArray, true
	}
	return nil, false
}

// decodeArray is decode for the binary form of an array of texts: the number of its
// dimensions, a flag and the elements' type, for each dimension its length and lower
// bound, then the elements, each behind its length, which is -1 for NULL.
func (c charset) decodeArray(form []byte) ([]byte, bool) {
	const head, dimension = 12, 8
	if len(form) < head {
		return nil, false
	}
	at := head + dimension*int64(binary.BigEndian.Uint32(form))
	if at > int64(len(form)) {
		return nil, false
	}
	out := slices.Clone(form[:at])
	for rest := form[at:]; len(rest) > 0; {
		if len(rest) < 4 {
			return nil, false
		}
		n := int32(binary.BigEndian.Uint32(rest))
		if rest = rest[4:]; n < 0 {
			out = binary.BigEndian.AppendUint32(out, uint32(n))
			continue
		}
		if int64(n) > int64(len(rest)) {
			return nil, false
		}
		text, ok := c.decode(rest[:n])
		if !ok {
			return nil, false
		}
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(text))), text...)
		rest = rest[n:]
	}
	return out, true
}
