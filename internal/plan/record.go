package plan

// Record is what the ledger keeps of a pod: what must survive a crash, and the pod's name for people.
type Record struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Kept      Kept   `json:"kept"`
}
