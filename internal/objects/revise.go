package objects

import (
	"maps"
	"time"
)

const (
	// quiet is how long an object must have been left alone before pods hear of a change; a ConfigMap edited in ten steps
	// makes one. But no later than most after the first.
	quiet = 100 * time.Millisecond
	most  = 500 * time.Millisecond
)

// due is when pods hear of the changes of an entry.
func (e *entry) due() time.Time {
	soon, latest := e.last.Add(quiet), e.first.Add(most)
	if soon.Before(latest) {
		return soon
	}
	return latest
}

// publish lets revisions grow that have reason to.
func (l *Loop) publish(now time.Time, wake *alarm) {
	for _, e := range l.entries {
		if e.first.IsZero() {
			continue
		}
		if at := e.due(); now.Before(at) {
			wake.by(at)
			continue
		}
		l.tellUsers(e)
	}
	if len(l.dirty) == 0 && !l.gone {
		return
	}
	for uid := range l.dirty {
		l.count++
		l.told[uid] = l.count
	}
	for uid := range l.logging {
		l.entered[uid] = l.count
	}
	if len(l.logging) > 0 { // those of pods that are gone go with the next
		l.logins.Set(maps.Clone(l.entered))
	}
	clear(l.dirty)
	clear(l.logging)
	l.gone = false
	l.revisions.Set(maps.Clone(l.told))
}

// lookAgain has all pods with objects look again, now and then, under the strategy Get: nobody else tells of changes.
func (l *Loop) lookAgain(now time.Time, wake *alarm) {
	if l.cfg.Strategy != Get {
		return
	}
	some := false
	for uid, u := range l.pods {
		if len(u.needs.ConfigMaps)+len(u.needs.Secrets) == 0 {
			continue
		}
		some = true
		if !l.again.IsZero() && !now.Before(l.again) {
			l.dirty[uid] = true
		}
	}
	switch {
	case !some:
		l.again = time.Time{}
		return
	case l.again.IsZero() || !now.Before(l.again):
		l.again = now.Add(l.cfg.Again)
	}
	wake.by(l.again)
}
