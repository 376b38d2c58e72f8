package nodeapi

import (
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
)

// table is how kubectl get shows a kind: the columns are chosen here, as they are by an API server.
type table struct {
	columns []metav1.TableColumnDefinition
	cells   func(o object, now time.Time) []any
}

// column is one that is always shown; wide is one of -o wide.
func column(name string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "string"}
}

func wide(name string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "string", Priority: 1}
}

// nameColumn is the first of every table.
func nameColumn() metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: "Name", Type: "string", Format: "name"}
}

// of makes the table of some objects. head tells whether the columns are named, include what of each object goes along: None, Object
// or, as without it, Metadata.
func (t table) of(objects []object, version string, head bool, include string, now time.Time) (*metav1.Table, error) {
	out := &metav1.Table{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "Table"}, Rows: make([]metav1.TableRow, 0, len(objects))}
	out.ResourceVersion = version
	if head {
		out.ColumnDefinitions = t.columns
	}
	for _, o := range objects {
		row := metav1.TableRow{Cells: t.cells(o, now)}
		switch include {
		case "None":
		case "Object":
			row.Object = runtime.RawExtension{Object: o}
		case "", "Metadata":
			p := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"}}
			p.ObjectMeta = *metaOf(o)
			row.Object = runtime.RawExtension{Object: p}
		default:
			return nil, badRequest("includeObject: %q is none of None, Metadata, Object", include)
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

// metaOf is the metadata of an object; nobody may change it.
func metaOf(o object) *metav1.ObjectMeta {
	if m, ok := o.(metav1.ObjectMetaAccessor).GetObjectMeta().(*metav1.ObjectMeta); ok {
		return m
	}
	return &metav1.ObjectMeta{Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()}
}

// age is how long ago a time was, as people read it.
func age(at metav1.Time, now time.Time) string {
	if at.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(at.Time))
}

func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}

func configMapTable() table {
	return table{[]metav1.TableColumnDefinition{nameColumn(), column("Data"), column("Age")}, func(o object, now time.Time) []any {
		m := o.(*v1.ConfigMap)
		return []any{m.Name, len(m.Data) + len(m.BinaryData), age(m.CreationTimestamp, now)}
	}}
}

func secretTable() table {
	return table{[]metav1.TableColumnDefinition{nameColumn(), column("Type"), column("Data"), column("Age")}, func(o object, now time.Time) []any {
		s := o.(*v1.Secret)
		return []any{s.Name, string(s.Type), len(s.Data), age(s.CreationTimestamp, now)}
	}}
}

func namespaceTable() table {
	return table{[]metav1.TableColumnDefinition{nameColumn(), column("Status"), column("Age")}, func(o object, now time.Time) []any {
		n := o.(*v1.Namespace)
		return []any{n.Name, string(n.Status.Phase), age(n.CreationTimestamp, now)}
	}}
}

func eventTable() table {
	columns := []metav1.TableColumnDefinition{
		column("Last Seen"), column("Type"), column("Reason"), column("Object"), wide("Subobject"), wide("Source"), column("Message"),
		wide("First Seen"), wide("Count"), wide("Name"),
	}
	return table{columns, func(o object, now time.Time) []any {
		e := o.(*v1.Event)
		return []any{
			age(e.LastTimestamp, now), e.Type, e.Reason, strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name, e.InvolvedObject.FieldPath,
			e.Source.Component + ", " + e.Source.Host, strings.TrimSpace(e.Message), age(e.FirstTimestamp, now), strconv.Itoa(int(e.Count)), e.Name,
		}
	}}
}

func nodeTable() table {
	columns := []metav1.TableColumnDefinition{
		nameColumn(), column("Status"), column("Roles"), column("Age"), column("Version"), wide("Internal-IP"), wide("External-IP"), wide("OS-Image"),
		wide("Kernel-Version"), wide("Container-Runtime"),
	}
	return table{columns, func(o object, now time.Time) []any {
		n := o.(*v1.Node)
		status := "Unknown"
		for _, c := range n.Status.Conditions {
			switch {
			case c.Type != v1.NodeReady:
			case c.Status == v1.ConditionTrue:
				status = "Ready"
			default:
				status = "NotReady"
			}
		}
		internal := ""
		for _, a := range n.Status.Addresses {
			if a.Type == v1.NodeInternalIP && internal == "" {
				internal = a.Address
			}
		}
		info := &n.Status.NodeInfo
		return []any{n.Name, status, "<none>", age(n.CreationTimestamp, now), info.KubeletVersion, orNone(internal), "<none>", info.OSImage, info.KernelVersion,
			info.ContainerRuntimeVersion}
	}}
}
