package classify

import "github.com/opmux/opmux/wire/pgencoding"

// CopyScanner looks for special date words in the fields of a COPY stream. It
// keeps a bounded piece of one field, whatever the size of the stream (I7).
type CopyScanner struct {
	columns []dateField
	format  copyFormat
	// column is the place of the current field, row that of its line from 1.
	column int
	row    int64
	field  []byte
	// long: the field is longer than is kept, bad: what is not kept had a date word.
	long, bad bool
	inQuote   bool
	// pending is how the last byte goes on with the next one.
	pending copyPending
	// digits are what is left of an octal (3) or hexadecimal (2) escape.
	digits, code, base int
	ended              bool
	mask               *pgencoding.Mask
}

type copyPending uint8

const (
	pendingNone copyPending = iota
	pendingBackslash
	pendingDigits
	pendingQuote // in CSV: a quote that may be doubled or the end
	pendingCR
)

// maxDateField bounds what is kept of a field that can hold a date or time, maxDateWord
// is longer than the longest word in one.
const (
	maxDateField = 256
	maxDateWord  = 16
)

// NewCopyScanner returns a scanner for the stream of a Copy plan, nil where no
// field of it can hold a special date word. The stream will be given to it in that
// encoding, or in the one that the COPY names.
func (p *Plan) NewCopyScanner(encoding string) *CopyScanner {
	if p.copyColumns == nil {
		return nil
	}
	if p.OwnEncoding() {
		encoding = p.copyFormat.encoding
	}
	return &CopyScanner{columns: p.copyColumns, format: p.copyFormat, row: 1, mask: pgencoding.Masked(encoding)}
}

// Scan reads the next piece of the stream. A *Refusal says that a field would be
// read as a moment of the clock: the COPY must be failed.
func (s *CopyScanner) Scan(data []byte) error {
	for _, b := range data {
		if s.ended {
			return nil
		}
		if err := s.next(s.mask.Next(b)); err != nil {
			return err
		}
	}
	return nil
}

// Close checks the last field, which need not end in a newline.
func (s *CopyScanner) Close() error {
	if s.ended {
		return nil
	}
	return s.endField()
}

func (s *CopyScanner) next(b byte) error {
	if s.format.csv {
		return s.nextCSV(b)
	}
	switch s.pending {
	case pendingBackslash:
		s.pending = pendingNone
		return s.escaped(b)
	case pendingDigits:
		if d := digit(b, s.base); d >= 0 && s.digits > 0 {
			s.code, s.digits = s.code*s.base+d, s.digits-1
			return nil
		}
		s.pending = pendingNone
		s.put(byte(s.code))
	case pendingCR:
		s.pending = pendingNone
		if b == '\n' {
			return nil
		}
	}
	switch b {
	case '\\':
		s.pending = pendingBackslash
		return nil
	}
	return s.plain(b)
}

// plain takes a byte that nothing before it gives another meaning.
func (s *CopyScanner) plain(b byte) error {
	switch b {
	case s.format.delim:
		err := s.endField()
		s.column++
		return err
	case '\n', '\r':
		err := s.endField()
		s.column = 0
		s.row++
		if b == '\r' {
			s.pending = pendingCR
		}
		return err
	}
	s.put(b)
	return nil
}

// escaped takes the byte behind a backslash of the text format.
func (s *CopyScanner) escaped(b byte) error {
	switch b {
	case '.':
		s.ended = s.column == 0 && len(s.field) == 0
		s.put(b)
	case 'x':
		s.pending, s.digits, s.code, s.base = pendingDigits, 2, 0, 16
	case '0', '1', '2', '3', '4', '5', '6', '7':
		s.pending, s.digits, s.code, s.base = pendingDigits, 2, int(b-'0'), 8
	case 'b', 'f', 'n', 'r', 't', 'v':
		s.put(' ')
	default:
		s.put(b)
	}
	return nil
}

func digit(b byte, base int) int {
	d := -1
	switch {
	case b >= '0' && b <= '9':
		d = int(b - '0')
	case letter(b) && b|0x20 <= 'f':
		d = int(b|0x20-'a') + 10
	}
	if d >= base {
		return -1
	}
	return d
}

func (s *CopyScanner) nextCSV(b byte) error {
	if s.pending == pendingCR {
		s.pending = pendingNone
		if b == '\n' {
			return nil
		}
	}
	f := s.format
	if !s.inQuote {
		if b == f.quote {
			s.inQuote = true
			return nil
		}
		return s.plain(b)
	}
	if s.pending == pendingQuote {
		s.pending = pendingNone
		if b == f.quote || b == f.escape {
			s.put(b)
			return nil
		}
		if f.escape != f.quote { // an escape that escapes nothing stands for itself
			s.put(f.escape)
			return s.nextCSV(b)
		}
		s.inQuote = false
		return s.plain(b)
	}
	switch b {
	case f.escape:
		s.pending = pendingQuote
	case f.quote:
		s.inQuote = false
	default:
		s.put(b)
	}
	return nil
}

func (s *CopyScanner) put(b byte) {
	if s.column >= len(s.columns) || s.columns[s.column] == fieldPlain {
		return
	}
	if len(s.field) >= maxDateField {
		s.shorten()
	}
	s.field = append(s.field, b)
}

// shorten looks at a field so far and keeps the word that it ends in, of one that is
// longer than any date word enough that it stays so. An array may have many dates.
func (s *CopyScanner) shorten() {
	word := len(s.field)
	for word > 0 && letter(s.field[word-1]) {
		word--
	}
	s.long, s.bad = true, s.bad || hasDateWord(s.field[:word])
	s.field = append(s.field[:0], s.field[max(word, len(s.field)-maxDateWord):]...)
}

// clock says that the field is read as a moment of the clock. Of one that is not kept
// whole it is not told whether all its times have their offsets.
func (s *CopyScanner) clock() bool {
	if s.column >= len(s.columns) {
		return false
	}
	kind := s.columns[s.column]
	return s.bad || s.long && kind&fieldOffset != 0 || kind.bad(s.field)
}

func (s *CopyScanner) endField() error {
	header := s.format.header && s.row == 1
	bad := !header && s.clock()
	s.field, s.long, s.bad = s.field[:0], false, false
	if !bad {
		return nil
	}
	return &Refusal{
		Construct: "COPY of a special date word", Reason: "a field is read as a moment of the clock",
		Hint: "Send the date itself instead of now, today, tomorrow or yesterday, and times with time zone with an offset of digits.",
	}
}
