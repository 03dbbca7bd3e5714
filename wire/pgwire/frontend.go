package pgwire

import "bytes"

// QueryText returns the text of a Query message's body.
func QueryText(body []byte) (string, error) {
	i := bytes.IndexByte(body, 0)
	if i != len(body)-1 {
		return "", &ProtocolError{"Query message is not one terminated string"}
	}
	return string(body[:i]), nil
}

// AppendQuery appends a Query message's body.
func AppendQuery(b []byte, text string) []byte { return appendCString(b, text) }

// ParseBody is the body of a Parse message.
type ParseBody struct {
	Name string
	Text string
	OIDs []uint32 // parameter types, 0 where the client leaves it to the server
}

// DecodeParse takes a Parse message's body apart.
func DecodeParse(body []byte) (ParseBody, error) {
	c := cursor{b: body}
	p := ParseBody{Name: c.cstring(), Text: c.cstring()}
	n := c.int16()
	for i := 0; i < n && !c.bad; i++ {
		p.OIDs = append(p.OIDs, uint32(c.int32()))
	}
	return p, c.done("Parse")
}

// Append appends the body.
func (p ParseBody) Append(b []byte) []byte {
	b = appendCString(appendCString(b, p.Name), p.Text)
	b = appendInt16(b, len(p.OIDs))
	for _, o := range p.OIDs {
		b = appendInt32(b, int32(o))
	}
	return b
}

// Param is one parameter value of a Bind message.
type Param struct {
	Null   bool
	Binary bool
	Value  []byte
}

// BindBody is the body of a Bind message. Values point into the decoded bytes.
type BindBody struct {
	Portal        string
	Statement     string
	Params        []Param
	ResultFormats []int16 // as sent: none, one for all, or one a column
}

// DecodeBind takes a Bind message's body apart.
func DecodeBind(body []byte) (BindBody, error) {
	c := cursor{b: body}
	p := BindBody{Portal: c.cstring(), Statement: c.cstring()}
	formats := make([]int, 0, 8)
	for i, n := 0, c.int16(); i < n && !c.bad; i++ {
		f := c.int16()
		if f != 0 && f != 1 {
			return p, &ProtocolError{"Bind message gives a parameter in a format that is neither text nor binary"}
		}
		formats = append(formats, f)
	}
	n := c.int16()
	if len(formats) > 1 && len(formats) != n {
		return p, &ProtocolError{"Bind message has neither no format, nor one, nor one for each parameter"}
	}
	if n > 0 && 4*n <= len(c.b) { // what it says of itself is not believed
		p.Params = make([]Param, 0, n)
	}
	for i := 0; i < n && !c.bad; i++ {
		v, null := c.value()
		p.Params = append(p.Params, Param{Null: null, Binary: formatOf(formats, i) == 1, Value: v})
	}
	for i, n := 0, c.int16(); i < n && !c.bad; i++ {
		p.ResultFormats = append(p.ResultFormats, int16(c.int16()))
	}
	return p, c.done("Bind")
}

func formatOf(formats []int, i int) int {
	switch len(formats) {
	case 0:
		return 0
	case 1:
		return formats[0]
	}
	return formats[i]
}

// Append appends the body.
func (p BindBody) Append(b []byte) []byte {
	b = appendCString(appendCString(b, p.Portal), p.Statement)
	b = appendInt16(b, len(p.Params))
	for _, v := range p.Params {
		b = appendInt16(b, boolInt(v.Binary))
	}
	b = appendInt16(b, len(p.Params))
	for _, v := range p.Params {
		b = appendValue(b, v.Value, v.Null)
	}
	b = appendInt16(b, len(p.ResultFormats))
	for _, f := range p.ResultFormats {
		b = appendInt16(b, int(f))
	}
	return b
}

func boolInt(v bool) int {
	if v {
		return 1
	}
	return 0
}

// Target is the body of a Describe or Close message: a statement or a portal.
type Target struct {
	Portal bool
	Name   string
}

// DecodeTarget takes a Describe or Close message's body apart.
func DecodeTarget(body []byte) (Target, error) {
	c := cursor{b: body}
	kind := c.byte()
	t := Target{Portal: kind == 'P', Name: c.cstring()}
	if !c.bad && kind != 'P' && kind != 'S' {
		return t, &ProtocolError{"Describe or Close names neither a statement nor a portal"}
	}
	return t, c.done("Describe or Close")
}

// Append appends the body.
func (t Target) Append(b []byte) []byte {
	kind := byte('S')
	if t.Portal {
		kind = 'P'
	}
	return appendCString(append(b, kind), t.Name)
}

// ExecuteBody is the body of an Execute message.
type ExecuteBody struct {
	Portal string
	Limit  int32 // rows; 0: all
}

// DecodeExecute takes an Execute message's body apart.
func DecodeExecute(body []byte) (ExecuteBody, error) {
	c := cursor{b: body}
	e := ExecuteBody{Portal: c.cstring(), Limit: c.int32()}
	return e, c.done("Execute")
}

// Append appends the body.
func (e ExecuteBody) Append(b []byte) []byte {
	return appendInt32(appendCString(b, e.Portal), e.Limit)
}

// DecodeFunctionOID returns the function that a FunctionCall message's body names.
func DecodeFunctionOID(body []byte) (uint32, error) {
	c := cursor{b: body}
	oid := uint32(c.int32())
	if c.bad {
		return 0, &ProtocolError{"FunctionCall message is cut short"}
	}
	return oid, nil
}
