package score

// Exposure is what stands behind a calibrated lambda: how long was watched, and how much
// of it showed at least as strong evidence. Both fade with HalfLife.
type Exposure struct {
	GroupDays float64 `json:"group_agent_days"`
	GroupSeen float64 `json:"group_exceedances"` // of the curve, smoothed: no whole number
	FleetDays float64 `json:"fleet_agent_days"`
	FleetSeen float64 `json:"fleet_exceedances"`
}

// SignalExposure returns what stands behind Signal.
func (p Pair) SignalExposure(i int, class Maturity, x float64) Exposure {
	return exposure(&p.Group.Signals[class][i], &p.Fleet.Signals[Young][i], &p.Fleet.Signals[Mature][i], class, x)
}

// FusedExposure returns what stands behind Fused.
func (p Pair) FusedExposure(class Maturity, y float64) Exposure {
	return exposure(&p.Group.Fused[class], &p.Fleet.Fused[Young], &p.Fleet.Fused[Mature], class, y+fusedShift)
}

// exposure takes of the fleet what the class is held against: the young of themselves, the
// mature of both.
func exposure(group, young, mature *Curve, class Maturity, x float64) Exposure {
	e := Exposure{
		GroupDays: group.Days(), GroupSeen: group.exceedances(x),
		FleetDays: young.Days(), FleetSeen: young.exceedances(x),
	}
	if class == Mature {
		e.FleetDays += mature.Days()
		e.FleetSeen += mature.exceedances(x)
	}
	return e
}
