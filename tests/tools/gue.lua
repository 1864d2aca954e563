-- SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
-- GUE variant 0 and 1 (draft-ietf-intarea-gue) for tshark, which has none: tshark -X lua_script:gue.lua
local gue = Proto("gue", "Generic UDP Encapsulation")
local variant = ProtoField.uint8("gue.variant", "Variant", base.DEC, nil, 0xc0)
local control = ProtoField.uint8("gue.control", "Control", base.DEC, nil, 0x20)
local hlen = ProtoField.uint8("gue.hlen", "Header length, words behind the first", base.DEC, nil, 0x1f)
local proto = ProtoField.uint8("gue.proto", "Protocol")
local flags = ProtoField.uint16("gue.flags", "Flags", base.HEX)
local odd = ProtoExpert.new("gue.odd", "Not a GUE header of an IP packet", expert.group.MALFORMED, expert.severity.ERROR)
gue.fields = { variant, control, hlen, proto, flags }
gue.experts = { odd }

local by_proto = DissectorTable.get("ip.proto")
local ip, ipv6 = Dissector.get("ip"), Dissector.get("ipv6")

function gue.dissector(tvb, pinfo, tree)
	local sub = tree:add(gue, tvb(0, math.min(4, tvb:len())))
	if tvb:len() < 4 then
		sub:add_proto_expert_info(odd)
		return
	end
	local first = tvb(0, 1):uint()
	if bit32.rshift(first, 6) == 1 then -- the IP header itself
		if bit32.rshift(first, 4) == 4 then ip:call(tvb, pinfo, tree) else ipv6:call(tvb, pinfo, tree) end
		return
	end
	local words = bit32.band(first, 0x1f)
	sub:add(variant, tvb(0, 1))
	sub:add(control, tvb(0, 1))
	sub:add(hlen, tvb(0, 1))
	sub:add(proto, tvb(1, 1))
	sub:add(flags, tvb(2, 2))
	local inner = tvb(1, 1):uint()
	if first > 0x1f or tvb:len() <= 4 + 4 * words or (inner ~= 4 and inner ~= 41) then
		sub:add_proto_expert_info(odd)
		return
	end
	by_proto:try(inner, tvb(4 + 4 * words):tvb(), pinfo, tree)
end
DissectorTable.get("udp.port"):add(6080, gue)
