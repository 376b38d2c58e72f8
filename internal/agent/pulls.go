package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/collect"
	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/image"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/objects"
)

// buildRecords takes up who has pulled which image; nil if the node is not to know.
func (a *Agent) buildRecords() (*image.Records, error) {
	if !a.cfg.Gate("KubeletEnsureSecretPulledImages") {
		return nil, nil
	}
	kept, damaged, err := a.ledger.LoadPulls()
	if err != nil {
		return nil, err
	}
	for _, key := range damaged {
		a.nodeNote(note.Warning, "LedgerRecordDamaged", fmt.Sprintf("the record %q of a pull cannot be read: pods that use the image pull it again", key))
	}
	before, err := image.Upstream(filepath.Join(a.cfg.RootDir, "image_manager"))
	if err != nil {
		a.log.Warn("some of what the kubelet before has noted of its pulls cannot be read: those images count as put on the node by hand", "err", err)
	}
	for key, value := range before {
		if kept[key] == nil && !slices.Contains(damaged, key) {
			kept[key] = value
		}
	}
	return image.NewRecords(a.ledger, kept, damaged, a.log), nil
}

// forgetPulls forgets who has pulled images that are gone.
func (a *Agent) forgetPulls(ctx context.Context, images []collect.Image, listed time.Time) {
	if a.records == nil {
		return
	}
	present := make([]string, 0, len(images))
	for _, i := range images {
		present = append(present, i.ID)
	}
	if err := a.records.Prune(ctx, present, listed); err != nil && ctx.Err() == nil {
		a.log.Warn("the records of pulls of images that are gone stay", "err", err)
	}
}

// loadProviders reads the credential providers of the command line; nil if there are none.
func (a *Agent) loadProviders() (*credential.Providers, error) {
	if a.cfg.ImageCredentialProviderConfig == "" {
		return nil, nil
	}
	providers, err := credential.LoadProviders(a.cfg.ImageCredentialProviderConfig, a.cfg.ImageCredentialProviderBinDir)
	if err != nil {
		return nil, err
	}
	const gate = "KubeletServiceAccountTokenForCredentialProviders"
	all, needy := providers.ForAccounts()
	if len(all) > 0 && !a.cfg.Gate(gate) {
		return nil, fmt.Errorf("%s: tokenAttributes of %s need feature gate %s", a.cfg.ImageCredentialProviderConfig, strings.Join(all, ", "), gate)
	}
	if len(needy) > 0 && a.member == nil {
		a.log.Warn("credential providers that need a service account are left out: a node without an API server has none", "providers", strings.Join(needy, ", "))
	}
	return providers, nil
}

// identity is a pod's service account, for credential providers.
type identity struct {
	objects *objects.Loop
	pod     *v1.Pod
}

// identityOf is nil for a pod that has none.
func identityOf(l *objects.Loop, p *v1.Pod) credential.Identity {
	if l == nil || p.Spec.ServiceAccountName == "" { // static pods may not name one
		return nil
	}
	return identity{l, p}
}

func (i identity) Account(ctx context.Context) (credential.Account, error) {
	a, err := i.objects.Account(ctx, i.pod)
	if err != nil {
		return credential.Account{}, err
	}
	return credential.Account{Owner: credential.Owner{UID: string(a.UID), Namespace: a.Namespace, Name: a.Name}, Annotations: a.Annotations}, nil
}

func (i identity) Token(ctx context.Context, audience string) (string, error) {
	return i.objects.Token(ctx, i.pod, content.TokenFor(i.pod, audience))
}
