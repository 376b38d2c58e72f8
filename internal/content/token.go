package content

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// token adds a token. Only who is meant may read it: the user that all containers run as, or the volume's group; only
// where neither is known does the volume's mode hold (behaviour 181).
func (b *builder) token(s *v1.ServiceAccountTokenProjection) error {
	t := tokenOf(b.pod, s)
	text, ok := b.facts.Tokens[t]
	if !ok {
		return fmt.Errorf("failed to fetch token: there is none of service account %s/%s yet", b.pod.Namespace, t.Account)
	}
	b.putOwn(s.Path, []byte(text), s.User)
	return nil
}

// putOwn adds a file that only who is meant may read. user is the one the file's source names, nil if it names none.
func (b *builder) putOwn(name string, data []byte, user *int64) {
	user, mode := firstOf(user, b.user, SharedUser(b.pod)), (*int32)(nil)
	if user != nil || hasGroup(b.pod) {
		owner := int32(0o600) // of a group, the writer lets the group read
		mode = &owner
	}
	b.put(name, data, mode, user)
}

func hasGroup(p *v1.Pod) bool {
	return p.Spec.SecurityContext != nil && p.Spec.SecurityContext.FSGroup != nil
}

// SharedUser is the user ID that all containers of a pod run as; nil if one of them does not say, or says another.
func SharedUser(p *v1.Pod) *int64 {
	var shared *int64
	alike := true
	eachContainer(p, func(c *v1.Container) {
		var own *int64
		if p.Spec.SecurityContext != nil {
			own = p.Spec.SecurityContext.RunAsUser
		}
		if c.SecurityContext != nil {
			own = firstOf(c.SecurityContext.RunAsUser, own)
		}
		if own == nil || shared != nil && *own != *shared {
			alike = false
		}
		shared = own
	})
	if !alike {
		return nil
	}
	return shared
}
