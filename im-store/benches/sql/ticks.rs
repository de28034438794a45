//! What a server's processes use.

/// The CPU time of a server's process and its children, those that ended too, in hundredths of a second.
pub(super) fn ticks_of(pid: i32) -> f64 {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = all.filter_map(|entry| {
        entry.file_name().to_str()?.parse::<i32>().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, rest) = stat.rsplit_once(") ")?;
        let pid: i32 = head.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<i64> =
            rest.split(' ').skip(1).filter_map(|field| field.trim().parse().ok()).collect();
        Some((pid, fields))
    });
    // After the state: parent, …, utime, stime, cutime, cstime as the 11th to the 14th.
    let ticks = stats.map(|(of, fields)| match (of == pid, fields[0] == i64::from(pid)) {
        (true, _) => fields[10..14].iter().sum(),
        (false, true) => fields[10..12].iter().sum(),
        (false, false) => 0,
    });
    #[allow(clippy::cast_precision_loss)]
    let ticks = ticks.sum::<i64>() as f64;
    ticks
}
