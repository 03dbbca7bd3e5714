package classify

// dateWords are read as a moment of the clock by the input functions of date and
// time types: a value that holds one means something else on each server.
var dateWords = [...]string{"now", "today", "tomorrow", "yesterday"}

// hasDateWord says that a value holds one of the special date words.
func hasDateWord[T string | []byte](s T) bool {
	for i := 0; i < len(s); {
		if !letter(s[i]) {
			i++
			continue
		}
		from := i
		for i < len(s) && letter(s[i]) {
			i++
		}
		for _, w := range dateWords {
			if i-from == len(w) && equalFold(s[from:i], w) {
				return true
			}
		}
	}
	return false
}

func letter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

func equalFold[T string | []byte](s T, word string) bool {
	for i := range len(word) {
		if s[i]|0x20 != word[i] {
			return false
		}
	}
	return true
}
