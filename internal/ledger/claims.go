package ledger

import "context"

// LoadClaims is LoadPulls for what is remembered of ResourceClaims.
func (l *Ledger) LoadClaims() (claims map[string][]byte, damaged []string, err error) {
	return l.loadTexts(claimsBucket)
}

// SaveClaims is SavePulls for what is remembered of ResourceClaims.
func (l *Ledger) SaveClaims(ctx context.Context, changes map[string][]byte) error {
	return l.saveTexts(ctx, claimsBucket, "claim", changes)
}
