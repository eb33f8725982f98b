// Package schemas holds Plumbline's public contracts: the activity event that
// agents produce, the alert that the SIEM reads and the window that dashboards
// draw. Fields are added, never repurposed.
//
// The package imports the standard library only, and nothing of this module.
package schemas
