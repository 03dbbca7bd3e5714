package classify

import "github.com/opmux/opmux/capture/catalog"

// checked refuses tables whose checks, those of domains included, may do on a backup
// what they do not here.
func (j *job) checked(t *catalog.Table, location int32) error {
	construct := "writing table " + t.Qualified()
	if reason, hint := CheckedAgain(t); reason != "" {
		return j.refuse(construct, location, reason, hint).beyond().all()
	}
	if len(t.VolatileFunctions) > 0 {
		return j.refuse(construct, location, "its constraints or indexes call volatile function "+t.VolatileFunctions[0], "Declare the function IMMUTABLE if it writes nothing.").all()
	}
	if r := ReadsElsewhere(t, j.in.Lenient); r != nil {
		return r.at(location)
	}
	return nil
}

// CheckedAgain tells why rows of a table must not be checked once more on a backup, which
// does so with the images of capture triggers, too; "" where they may.
func CheckedAgain(t *catalog.Table) (reason, hint string) {
	if t.WritingFunction == "" {
		return "", ""
	}
	return "its constraints or indexes call " + t.WritingFunction + ", which may write, and a backup calls it once more",
		"Write in a trigger. Declare the function IMMUTABLE if it writes nothing."
}
