package topics

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReplacedError is why a member of a consumer group must stop: another process
// has its name. Joining again would only replace that one, and so on for ever.
type ReplacedError struct{ Group, Member string }

func (e *ReplacedError) Error() string {
	return fmt.Sprintf("another process has joined consumer group %s as %q: names (key name) must be unique, this process stops", e.Group, e.Member)
}

// instanceID writes a name in the letters that Kafka allows in an instance id;
// different names stay different.
func instanceID(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// leave leaves the group, which ends the handlers through lost.
func (g *Group) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	id, _ := g.client.GroupMetadata()
	err := g.client.LeaveGroupContext(ctx)
	if err == nil && id != "" {
		err = g.giveUpPlace(ctx, id)
	}
	g.client.Close()
	var replaced *ReplacedError
	if errors.As(err, &replaced) {
		return err
	}
	if err != nil && !errors.Is(err, kgo.ErrClientClosed) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("leaving consumer group %s: %w", g.name, err)
	}
	return nil
}

// giveUpPlace takes a member with a lasting name off the group, which would keep
// its place for the session's timeout otherwise. It goes by id and not by name, so
// that it means this process and none that has taken its place meanwhile.
func (g *Group) giveUpPlace(ctx context.Context, id string) error {
	if g.member == "" {
		return nil // kgo has done it
	}
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = id
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Group, request.MemberID, request.Members = g.name, id, append(request.Members, m)
	response, err := request.RequestWith(ctx, g.client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err == nil && len(response.Members) > 0 {
		err = kerr.ErrorForCode(response.Members[0].ErrorCode)
	}
	if !errors.Is(err, kerr.UnknownMemberID) {
		return err
	}
	// The group has given the place up, or to another: whoever was replaced may
	// notice by something else first, as by its fence on the target.
	groups, err := g.admin.DescribeGroups(ctx, g.name)
	if err != nil {
		return err
	}
	for _, other := range groups[g.name].Members {
		if other.InstanceID != nil && *other.InstanceID == instanceID(g.member) {
			return &ReplacedError{Group: g.name, Member: g.member}
		}
	}
	return nil
}
