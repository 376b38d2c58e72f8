package ledger

import "context"

// LoadResources is LoadPulls for the resources that device plugins have served here.
func (l *Ledger) LoadResources() (resources map[string][]byte, damaged []string, err error) {
	return l.loadTexts(resourcesBucket)
}

// SaveResources is SavePulls for the resources that device plugins have served here.
func (l *Ledger) SaveResources(ctx context.Context, changes map[string][]byte) error {
	return l.saveTexts(ctx, resourcesBucket, "resource", changes)
}
