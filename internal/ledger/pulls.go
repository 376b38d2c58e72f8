package ledger

import "context"

// LoadPulls returns the records of pulls as they were saved, and the keys of those that cannot be read any more. Nothing is
// removed: whoever keeps the records writes them anew. It is called once, before Run.
func (l *Ledger) LoadPulls() (pulls map[string][]byte, damaged []string, err error) {
	return l.loadTexts(pullsBucket)
}

// SavePulls returns when all changes of the records of pulls are safe on disk; nil removes a record. Otherwise it is as Save.
func (l *Ledger) SavePulls(ctx context.Context, changes map[string][]byte) error {
	return l.saveTexts(ctx, pullsBucket, "pull", changes)
}
