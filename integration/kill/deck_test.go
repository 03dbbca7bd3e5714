package kill

import (
	"math/rand/v2"
	"slices"
)

// deck is drawn from at random until all its cards have come once, and again.
type deck[T any] struct {
	cards []T
	left  []T
}

func (d *deck[T]) draw(random *rand.Rand) T {
	if len(d.left) == 0 {
		d.left = slices.Clone(d.cards)
		random.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	last := len(d.left) - 1
	card := d.left[last]
	d.left = d.left[:last]
	return card
}

// faultDeck has each fault as often as it is to come.
func faultDeck(list []fault) *deck[fault] {
	d := &deck[fault]{}
	for _, f := range list {
		for range f.times {
			d.cards = append(d.cards, f)
		}
	}
	return d
}
