package importer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Format says which columns of a file say what. As a file it is YAML:
//
//	fields:                     # a column, or several: the first that is not empty counts
//	  name: [Hostname]          # host name, and the device's ID where there is no device
//	  owner: [User]             # names, with commas between them
//	  seen: [Last contact]      # when it was so; without it the time of the import
//	  os_version: [Build]
//	  disk_encrypted: [BitLocker]
//	yes: {disk_encrypted: [Protected]}   # besides yes, true, on, 1, enabled, compliant…
//	no: {disk_encrypted: [Unprotected]}
//	times: ["02.01.2006 15:04"]          # as Go writes 3:04 pm on the 2nd of January 2006
type Format struct {
	Fields map[string][]string `yaml:"fields"`
	Yes    map[string][]string `yaml:"yes"`
	No     map[string][]string `yaml:"no"`
	Times  []string            `yaml:"times"`
}

// fieldNames are all that can be said.
var fieldNames = []string{
	"device", "name", "owner", "seen", "os", "os_version", "managed", "compliant", "disk_encrypted", "firewall", "antivirus",
	"screen_lock", "enabled", "patched", "booted", "last_logon",
}

// formats are those of well-known systems. A name stands for the table and for the JSON
// of a system's API: columns that are not there say nothing.
var formats = map[string]*Format{
	// Intune admin center, Devices → All devices → Export; Graph's managedDevice
	// (learn.microsoft.com/graph/api/resources/intune-devices-manageddevice).
	"intune": {
		Fields: map[string][]string{
			"name":           {"Device name", "DeviceName", "deviceName"},
			"owner":          {"Primary user UPN", "UPN", "userPrincipalName"},
			"seen":           {"Last check-in", "LastContact", "lastSyncDateTime"},
			"os":             {"OS", "operatingSystem"},
			"os_version":     {"OS version", "OSVersion", "osVersion"},
			"managed":        {"Managed by", "managementAgent"},
			"compliant":      {"Compliance", "CompliantState", "complianceState"},
			"disk_encrypted": {"Encrypted", "IsEncrypted", "isEncrypted"},
		},
		Yes: map[string][]string{"managed": {"Intune", "MDM", "Co-managed", "configurationManagerClientMdm", "mdm"}},
		// A device in its grace period is not compliant yet.
		No: map[string][]string{"compliant": {"In grace period", "inGracePeriod", "error", "conflict"}},
	},
	// Fleet, Hosts → Export hosts, and GET /api/v1/fleet/hosts
	// (fleetdm.com/docs/rest-api/rest-api#list-hosts).
	"fleet": {
		Fields: map[string][]string{
			"name":           {"hostname", "computer_name"},
			"owner":          {"device_mapping", "email"},
			"seen":           {"seen_time", "detail_updated_at"},
			"os":             {"os_version", "platform"},
			"os_version":     {"os_version"},
			"managed":        {"mdm.enrollment_status", "mdm_status"},
			"compliant":      {"issues.failing_policies_count", "failing_policies_count", "issues"},
			"disk_encrypted": {"disk_encryption_enabled"},
			"booted":         {"last_restarted_at"},
		},
		Yes: map[string][]string{"managed": {"On (manual)", "On (automatic)"}, "compliant": {"0"}},
		No:  map[string][]string{"managed": {"Off"}, "compliant": failing()},
	},
	// Configuration Manager, Devices exported, or a report on SMS_R_System with
	// SMS_CombinedDeviceResources
	// (learn.microsoft.com/mem/configmgr/develop/reference/core/clients).
	"sccm": {
		Fields: map[string][]string{
			"name":           {"Name", "Netbios_Name0", "Netbios Name"},
			"owner":          {"Primary User(s)", "PrimaryUser", "User_Name0", "Last logged on user"},
			"seen":           {"LastActiveTime", "Last Activity", "Last active time"},
			"os":             {"Operating System", "DeviceOS", "Operating_System_Name_and0", "OperatingSystemNameandVersion"},
			"os_version":     {"Operating System Build", "DeviceOSBuild", "Build01"},
			"managed":        {"Client", "IsClient"},
			"compliant":      {"Compliance", "ComplianceState", "ClientCheckPass"},
			"disk_encrypted": {"BitLocker protection", "ProtectionStatus0"},
		},
		Yes: map[string][]string{"disk_encrypted": {"Protected"}, "compliant": {"Passed"}},
		No:  map[string][]string{"disk_encrypted": {"Unprotected"}, "compliant": {"Failed"}},
	},
}

// failing are the numbers of failing policies that are worth a word.
func failing() (all []string) {
	for n := 1; n < 1000; n++ {
		all = append(all, fmt.Sprint(n))
	}
	return all
}

// Names are those of the formats there are.
func Names() []string { return slices.Sorted(maps.Keys(formats)) }

// ByName returns one of them; nil: there is none.
func ByName(name string) *Format { return formats[name] }

// ParseFormat reads a format of one's own.
func ParseFormat(text []byte) (f *Format, err error) {
	defer func() {
		// The parser is somebody else's; a file must not be able to end us.
		if p := recover(); p != nil {
			f, err = nil, fmt.Errorf("not YAML: %v", p)
		}
	}()
	f = new(Format)
	if err := yaml.UnmarshalWithOptions(text, f, yaml.Strict()); err != nil {
		return nil, err
	}
	for what, fields := range map[string]map[string][]string{"fields": f.Fields, "yes": f.Yes, "no": f.No} {
		for name, columns := range fields {
			if !slices.Contains(fieldNames, name) {
				return nil, fmt.Errorf("%s: unknown field %q; one of: %s", what, name, strings.Join(fieldNames, ", "))
			}
			if len(columns) == 0 || slices.Contains(columns, "") {
				return nil, fmt.Errorf("%s: %s: no column", what, name)
			}
		}
	}
	if len(f.Fields["name"])+len(f.Fields["device"]) == 0 {
		return nil, fmt.Errorf("fields: name or device is needed")
	}
	return f, nil
}
