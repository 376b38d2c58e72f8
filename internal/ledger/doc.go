// Package ledger owns what must survive a crash of the agent: one bbolt file with a bucket for each kind of record
// (pods, and pulls of images). A record is safe on disk when Save returns; everything that waits to be saved at one time shares one
// commit. A file or a record that cannot be read is set aside and told of; it never keeps the node from starting.
// Nothing else writes the file.
package ledger
