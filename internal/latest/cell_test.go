package latest

import "testing"

func TestCellWakesReadersOncePerNewerValue(t *testing.T) {
	var c Cell[int]
	v, newer := c.Get()
	if v != 0 {
		t.Fatalf("zero cell holds %d, want 0", v)
	}
	select {
	case <-newer:
		t.Fatal("channel closed before a newer value was set")
	default:
	}
	c.Set(1)
	c.Set(2)
	select {
	case <-newer:
	default:
		t.Fatal("channel still open after a newer value was set")
	}
	v, newer = c.Get()
	if v != 2 {
		t.Fatalf("cell holds %d, want the newest value 2", v)
	}
	select {
	case <-newer:
		t.Fatal("a fresh channel is closed without a newer value")
	default:
	}
	if got := c.Value(); got != 2 {
		t.Fatalf("Value() = %d, want 2", got)
	}
}
