package config

import "slices"

// maxSuggest is the longest name worth comparing; what is longer is no slip of the finger.
const maxSuggest = 80

// nearest gives the name most like s, or "" when none is close. Equal distance goes to the alphabetically first.
func nearest(s string, names []string) string {
	best, at := "", min(max(2, len(s)/4), len(s)/2)+1
	for _, n := range slices.Sorted(slices.Values(names)) {
		if d := distance(s, n); d < at {
			best, at = n, d
		}
	}
	return best
}

// distance counts the single letters to add, drop or change to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
